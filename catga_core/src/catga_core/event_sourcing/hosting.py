"""How a worker of event sourcing gets into a container: as a hosted service of its own, made of what it needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def hosted_class(base: type[Any], name: str) -> Any:
    """Return a class of its own for one worker: a container has many, and asks for services by class.

    Parameters:
        base: the worker's class.
        name: the class's name, as errors show it.
    """
    return type(name, (base,), {})


def factory_with(needs: Mapping[str, Any], make: Callable[..., Any]) -> Callable[..., Any]:
    """Return a factory that tells a container which services it takes.

    Parameters:
        needs: the services, by parameter name.
        make: takes them by name.
    """

    def factory(**given: Any) -> Any:
        return make(**given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    signature = [inspect.Parameter(name, keyword, annotation=service) for name, service in needs.items()]
    factory.__annotations__ = dict(needs)
    factory.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]  # what inspect looks at first
    return factory
