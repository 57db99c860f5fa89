"""Message classes and upcasters that are registered before the registry is made."""

from __future__ import annotations

from catga_core.messages.types import Message
from catga_core.messages.upcasting import Upcaster


class MessageCatalog:
    """The initial content of a `MessageRegistry`.

    Attributes:
        classes: The classes to register.
        upcasters: The upcasters to register.
        closed: Whether only registered and handled classes are known.
    """

    __slots__ = ("classes", "closed", "upcasters")

    def __init__(self) -> None:
        self.classes: list[type[Message]] = []
        self.upcasters: list[Upcaster] = []
        self.closed: bool = False
