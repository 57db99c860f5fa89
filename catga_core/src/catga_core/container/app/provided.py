"""The ports of the running application as typed attributes."""

from __future__ import annotations

from typing import Generic, Protocol, Self, TypeVar, overload

from catga_core.interfaces.service_type import ServiceType

S = TypeVar("S")


class Resolves(Protocol):
    """What services are asked for."""

    def get(self, service: ServiceType[S]) -> S:
        """Return a service by its type."""
        ...


class Provided(Generic[S]):
    """An attribute of `CatgaApp` that resolves a service at each access.

    Reading it raises `ConfigurationError` where nothing provides the service.

    Args:
        service: the type it is asked for by.
    """

    def __init__(self, service: ServiceType[S]) -> None:
        self._service = service

    @overload
    def __get__(self, app: None, owner: type[Resolves]) -> Self: ...

    @overload
    def __get__(self, app: Resolves, owner: type[Resolves]) -> S: ...

    def __get__(self, app: Resolves | None, owner: type[Resolves]) -> S | Self:
        return self if app is None else app.get(self._service)
