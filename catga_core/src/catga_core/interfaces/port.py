"""Ports: Protocols that declare their provider name, their storage and their contract kit.

A port is known as soon as its module is imported. Provider names, the properties of the running application, `Stores`, plugin
wiring and contract kits derive from the declaration, so adding a port changes no other module of the core.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from catga_core.errors import ConfigurationError

P = TypeVar("P")


class Port(msgspec.Struct, frozen=True):
    """The declaration of one port.

    Args:
        type: The Protocol.
        name: Its provider name, such as `outbox`.
        kept: Whether a storage keeps it, so that it may be in `Stores` and be registered by `add_stores`.
        transactional: Whether the storage that provides it becomes the storage of the container's units of work.
        kit: Where its contract kit is, as `module:class`; `None` for no kit.
        parts: The ports that its service provides as well.
    """

    type: Any
    name: str
    kept: bool = False
    transactional: bool = False
    kit: str | None = None
    parts: tuple[Any, ...] = ()

    def load_kit(self) -> type[Any] | None:
        """Import the contract kit.

        Returns:
            The kit's class, `None` for a port that declares none.

        Raises:
            ConfigurationError: The declared path does not exist.
        """
        if self.kit is None:
            return None
        module, _, name = self.kit.partition(":")
        try:
            found: type[Any] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            msg = (
                f"the contract kit of {_shown(self.type)} cannot be imported from {self.kit!r}: {error}. "
                "Correct kit= in its @port declaration."
            )
            raise ConfigurationError(msg) from error
        return found


_PORTS: dict[Any, Port] = {}


def port(
    name: str,
    *,
    kept: bool = False,
    transactional: bool = False,
    kit: str | None = None,
    parts: tuple[Any, ...] = (),
) -> Callable[[P], P]:
    """Declare a Protocol as a port.

    ```python
    @port("audit_log", kept=True, kit="audit.contracts:AuditContract")
    @runtime_checkable
    class AuditLog(Protocol): ...
    ```

    Args:
        name: The provider name; `app.<name>` and `catga.override("<name>", ...)` use it.
        kept: Whether a storage keeps it. Such a port may be in `Stores` and be registered by `add_stores`.
        transactional: Whether the storage that provides it becomes the storage of `container.unit_of_work()`; requires `kept`.
        kit: The contract kit, as `module:class`; it is imported by tests only.
        parts: Ports whose Protocols it derives from; registering or overriding its service provides them as well.

    Returns:
        The decorator, which returns the Protocol unchanged.

    Raises:
        ConfigurationError: The name is not an identifier, or another port has it; `kit` is not `module:class`; or
            `transactional` is set without `kept`.
    """
    if not name.isidentifier() or name.startswith("_"):
        msg = (
            f"a port's name must be a public Python identifier; got {name!r}. Use a name such as 'audit_log'."
        )
        raise ConfigurationError(msg)
    if kit is not None and not all(kit.partition(":")):
        msg = f"kit of port {name!r} must be 'module:class'; got {kit!r}. Use a path such as 'audit.contracts:AuditContract'."
        raise ConfigurationError(msg)
    if transactional and not kept:
        msg = f"port {name!r} is transactional but not kept by a storage. Add kept=True."
        raise ConfigurationError(msg)

    def declare(declared: P) -> P:
        for other in list(_PORTS.values()):
            if other.name != name:
                continue
            if _shown(other.type) != _shown(declared):
                msg = (
                    f"the port name {name!r} of {_shown(declared)} is already the name of {_shown(other.type)}. "
                    "Choose another name."
                )
                raise ConfigurationError(msg)
            # The same declaration again: its module was reloaded, or its function was called again.
            del _PORTS[other.type]
        _PORTS[declared] = Port(declared, name, kept, transactional, kit, parts)
        return declared

    return declare


def port_of(service: Any) -> Port | None:
    """Return the declaration of a port, `None` for any other type.

    Args:
        service: The Protocol.
    """
    try:
        return _PORTS.get(service)
    except TypeError:  # not hashable, so not a type
        return None


def whole_of(part: Any) -> Any | None:
    """Return the port whose service provides another port as well, `None` for a port that is not a part.

    Args:
        part: The other port.
    """
    return next((each.type for each in _PORTS.values() if part in each.parts), None)


def declared_ports(*, kept: bool = False) -> tuple[Port, ...]:
    """Return the declarations of all imported ports, in the order of their declaration.

    Args:
        kept: Only those that a storage keeps.
    """
    return tuple(each for each in _PORTS.values() if each.kept or not kept)


def _shown(declared: Any) -> str:
    return f"{declared.__module__}.{declared.__qualname__}"
