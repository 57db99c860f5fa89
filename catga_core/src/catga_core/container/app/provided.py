"""The ports of the running application as typed attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Self, TypeVar, overload

from catga_core.interfaces.service_type import ServiceType

if TYPE_CHECKING:
    from catga_core.container.app.application import CatgaApp

S = TypeVar("S")


class Provided(Generic[S]):
    """An attribute of `CatgaApp` that resolves a service at each access.

    Reading it raises `ConfigurationError` where nothing provides the service.

    Args:
        service: the type it is asked for by.
    """

    def __init__(self, service: ServiceType[S]) -> None:
        self._service = service

    @overload
    def __get__(self, app: None, owner: type[CatgaApp]) -> Self: ...

    @overload
    def __get__(self, app: CatgaApp, owner: type[CatgaApp]) -> S: ...

    def __get__(self, app: CatgaApp | None, owner: type[CatgaApp]) -> S | Self:
        return self if app is None else app.container.get(self._service)
