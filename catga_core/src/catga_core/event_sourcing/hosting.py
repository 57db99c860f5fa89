"""Registers the workers of event sourcing as hosted services, each with its own class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from catga_core.descriptions import with_module

_HOSTED = "catga_hosted"
"""The attribute of a worker's class with its `Hosted`."""


class Hosted(NamedTuple):
    """The projection, subscription or event publisher that a worker runs.

    Args:
        kind: `projection`, `subscription` or `event publisher`.
        name: Its name.
        source: The class or function that handles its events; a text where there is none.
    """

    kind: str
    name: str
    source: Any

    @property
    def shown(self) -> str:
        """The source with its module and place, as errors show it."""
        return with_module(self.source)


def hosted_class(base: type[Any], name: str, hosted: Hosted) -> Any:
    """Return a new class for one worker, because a container finds services by class.

    Args:
        base: The worker's class.
        name: The new class's name, as errors show it.
        hosted: The projection or subscription.
    """
    return type(name, (base,), {_HOSTED: hosted})


def hosted_of(provider: object) -> Hosted | None:
    """Return the projection, subscription or event publisher of a provider, `None` for any other service.

    Args:
        provider: A provider of a container.
    """
    found: Hosted | None = getattr(getattr(provider, "service", None), _HOSTED, None)
    return found


def problems_of_name(hosted: Hosted, provider: str, providers: Mapping[str, Any]) -> list[str]:
    """Return a text for a name that another worker has, with the places of both.

    Args:
        hosted: The projection or subscription to add.
        provider: The name of its provider.
        providers: The container's providers.
    """
    if provider not in providers:
        return []
    named = f"the {hosted.kind} {hosted.name!r}"
    other = hosted_of(providers[provider])
    if other is None:
        return [
            f"{named} needs a provider called {provider!r}, which is taken: give one of the two another name"
        ]
    if other.name != hosted.name:
        almost = f"{named} of {hosted.shown} has almost the same name as {other.name!r} of {other.shown}"
        return [
            f"{almost}, which is there already; health would call both {provider!r}: give one of them another name"
        ]
    if other.source is hosted.source:
        return [f"{named} is there already: {hosted.shown} was added twice: leave one of the two out"]
    return [
        f"{named} is there already: {other.shown} and {hosted.shown} both have that name: give one of them another"
    ]


def factory_with(needs: Mapping[str, Any], make: Callable[..., Any]) -> Callable[..., Any]:
    """Return a factory whose signature names the services it takes.

    Args:
        needs: The services, by parameter name.
        make: Takes them by name.
    """

    def factory(**given: Any) -> Any:
        return make(**given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    signature = [inspect.Parameter(name, keyword, annotation=service) for name, service in needs.items()]
    factory.__annotations__ = dict(needs)
    factory.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]  # what inspect looks at first
    return factory
