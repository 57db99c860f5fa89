"""The functions that begin a composition."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from catga_core.builtin_features import add_builtin_features
from catga_core.clock import Clock
from catga_core.container import CatgaContainer, Module, add_stores
from catga_core.container.app.options import CatgaOptions
from catga_core.container.app.roles import DEFAULT_ROLES, Role
from catga_core.errors import CatgaError, ConfigurationError
from catga_core.interfaces.stores import Stores
from catga_core.plugins import apply_plugins, plugin

if TYPE_CHECKING:
    from catga_core.messages import Command, Event
    from catga_core.sagas import Saga, SagaDefinition, SagaOptions


class Catga(CatgaContainer):
    """A container with the capabilities of this distribution as methods; make it with `add_catga()`.

    `CatgaContainer` knows none of them. Each method calls the `add_*` function of its capability, which is imported then.
    """

    def add_sagas(
        self,
        *sagas: type[Saga[Any, Any]] | SagaDefinition[Any, Any],
        started_by: type[Event | Command[Any]] | None = None,
        transaction_id: Callable[[Any], str] | None = None,
        data: Callable[[Any], Any] | None = None,
        options: SagaOptions | None = None,
    ) -> None:
        """Register sagas, as `catga_core.sagas.add_sagas` does.

        Args:
            sagas: Their classes or definitions.
            started_by: An event or a command that starts the saga.
            transaction_id: Returns the transaction id of a message that starts the saga.
            data: Returns the data of a message that starts the saga; default: the message itself.
            options: How sagas are run.

        Raises:
            ConfigurationError: As `catga_core.sagas.add_sagas`.
        """
        from catga_core.sagas import add_sagas

        add_sagas(
            self, *sagas, started_by=started_by, transaction_id=transaction_id, data=data, options=options
        )


def add_catga(options: CatgaOptions | None = None) -> Catga:
    """Return a new container, with the plugins that its options name.

    Args:
        options: `None` for the defaults: one process, no server, nothing but the handlers in the pipelines.

    Raises:
        ConfigurationError: For an option that cannot work, or a plugin that cannot be loaded.
    """
    # An object, because a URL in its place is a likely slip, and the checker would call the test unreachable.
    chosen: object = options or CatgaOptions()
    if not isinstance(chosen, CatgaOptions):
        msg = (
            f"add_catga() takes CatgaOptions, not a {type(chosen).__name__}: "
            'write add_catga(CatgaOptions(transport="nats://..."))'
        )
        raise ConfigurationError(msg)
    container = Catga(chosen)
    add_builtin_features(container, chosen)
    apply_plugins(container, chosen)
    return container


@plugin(api=1)
def add_memory_catga(container: CatgaContainer, _url: str = "memory://") -> None:
    """Keep all state in this process's memory, on purpose: for tests, and for what may be lost.

    It is what a container does without any store, except that no line of the log warns of it.

    Args:
        container: The application's container; for each port the last call wins.
    """
    # Imported here: a program that keeps its state elsewhere does not need it.
    from catga_core.memory.stores import MEMORY_PORTS, memory_stores

    def make(clock: Clock) -> Stores:
        return memory_stores(clock)

    add_stores(container, make, MEMORY_PORTS, name="memory")


def add_module(container: CatgaContainer, module: type[Module] | Module) -> None:
    """Let a module register itself in a container, as `container.add_module` does.

    Args:
        container: The container.
        module: A class derived from `Module`, or an object of one.
    """
    container.add_module(module)


def run(container: CatgaContainer, *, roles: Collection[Role] = DEFAULT_ROLES) -> None:
    """Run an application in its own event loop until SIGINT or SIGTERM.

    In a thread other than the main one there are no signals: use `await container.run()` in a task that you can cancel.
    The loop is uvloop's where it is installed (`pip install "catga[speed]"`), else asyncio's. A start that fails for a
    reason that is known, a wrong composition or a server that cannot be reached, is printed to stderr without a traceback.

    Args:
        container: The composed application.
        roles: What this process does, as in `CatgaContainer.running()`.

    Raises:
        SystemExit: With code 1 for such a start; any other exception passes through.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        # By name: it is an extra, and a type checker need not find it.
        with contextlib.suppress(ImportError):
            factory = importlib.import_module("uvloop").new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(container.run(roles=roles))
    except (ConfigurationError, CatgaError) as error:
        # What goes wrong while stopping is a group, so this is the start's.
        sys.stderr.write("".join(f"{line}\n" for line in (error, *getattr(error, "__notes__", ()))))
        raise SystemExit(1) from None
