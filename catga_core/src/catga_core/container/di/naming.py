"""The provider names of services."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, get_args, get_origin

from catga_core.container.di.provider import ServiceProvider
from catga_core.container.di.registration import how_registered
from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import shown, snake_case
from catga_core.interfaces.port import port_of


def provider_name(service: Any) -> str:
    """Return the provider name of a service: a port's declared one, else its type's in snake_case.

    Args:
        service: The type it is asked for by; `OrderRepository` is `order_repository`.
    """
    declared = port_of(service)
    if declared is not None:
        return declared.name
    arguments = "".join(f"_{provider_name(each)}" for each in get_args(service))
    origin = get_origin(service) or service
    name = getattr(origin, "__name__", str(origin))
    return snake_case(name) + arguments


def name_for(
    service: Any, name: str | None, providers: Mapping[str, Any], reserved: Collection[str]
) -> str | None:
    """Return the name of a service's provider, `None` where its own is somebody else's: it is found by type all the same.

    Args:
        service: The type it is asked for by.
        name: As asked for, `None` for the service's own.
        providers: Those there are.
        reserved: Names of the container's own.

    Raises:
        ConfigurationError: When the name that was asked for is taken.
    """
    chosen = name or provider_name(service)
    taken = providers.get(chosen)
    if chosen not in reserved and (
        taken is None or (isinstance(taken, ServiceProvider) and taken.is_for(service))
    ):
        return chosen
    if name is None:
        return None
    msg = f"The name {name!r} for {shown(service)} is already used. Pass another name=."
    raise ConfigurationError(msg)


def service_called(name: str, providers: Mapping[str, Any]) -> Any:
    """Return the service of a provider.

    Raises:
        ConfigurationError: When no service's provider is called so.
    """
    found = providers.get(name)
    if not isinstance(found, ServiceProvider):
        names = ", ".join(sorted(providers))
        msg = f"No provider is named {name!r}; the providers are {names}. Correct the name."
        raise ConfigurationError(msg)
    return found.service


def provider_of(service: Any, providers: Mapping[str, Any]) -> ServiceProvider[Any]:
    """Return the provider of a service.

    Raises:
        ConfigurationError: When nothing provides it.
    """
    known: list[ServiceProvider[Any]] = [
        each for each in providers.values() if isinstance(each, ServiceProvider)
    ]
    found = next((each for each in known if each.is_for(service)), None)
    if found is not None:
        return found
    msg = f"{shown(service)} is not registered. {how_registered(service)}."
    raise ConfigurationError(msg)
