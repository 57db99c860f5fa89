"""`SagaWorld`: the services around a saga in a test; what it holds survives every crash."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from catga_core import Event
from catga_core.messages.context import current_context

T = TypeVar("T")


class Bus(Protocol):
    """Delivers the events of a world."""

    def publish(self, event: Event, *, after: float, message_id: str | None) -> None:
        """Deliver an event later."""
        ...


class SagaWorld:
    """The other services of a test: derive a class from it, with fakes as its attributes.

    ```python
    class Shop(SagaWorld):
        def __init__(self) -> None:
            self.payments = FakePayments()
            self.stock = FakeStock({"book": 3})
            self.orders: dict[str, str] = {}

        def handlers(self) -> Sequence[Callable[..., Any]]:
            return [self.create_order]

        async def create_order(self, command: CreateOrder) -> str: ...
    ```

    A parameter of the saga's constructor is given the attribute of its name, or the one attribute of its type. Calls of an
    attribute's methods are effects: a process may crash after each of them. What the attributes hold survives every crash, as the
    data of other services does. They must not do real I/O: it would take real time.
    """

    def handlers(self) -> Sequence[Callable[..., Any]]:
        """Return the handlers of the saga's commands and events; default: none.

        Each is called with the message, whose class it declares for its first parameter, and returns a result or raises.
        """
        return ()

    def publish(self, event: Event, *, after: float = 0.0, message_id: str | None = None) -> None:
        """Publish an event to the world's handlers and to waiting sagas.

        Args:
            event: The event.
            after: Virtual seconds until it arrives.
            message_id: Its message id; default: a new one.

        Raises:
            RuntimeError: The world is not in a run.
        """
        bus: Bus | None = vars(self).get("_catga_bus")
        if bus is None:
            msg = f"{type(self).__name__}.publish() was called outside of a run. Call it in a fake or in a handler."
            raise RuntimeError(msg)
        bus.publish(event, after=after, message_id=message_id)

    def once(self, work: Callable[[], T]) -> T:
        """Run work once per message id, and return its first result afterwards.

        Use it to write idempotent receivers. The work is synchronous; work that raises is not recorded.

        Args:
            work: The work.
        """
        done: dict[str, Any] = vars(self).setdefault("_catga_done", {})
        message_id = current_context().message_id
        if message_id not in done:
            done[message_id] = work()
        result: T = done[message_id]
        return result


def bind(world: object, bus: Bus) -> None:
    """Let a world publish events over a bus."""
    if isinstance(world, SagaWorld):
        vars(world)["_catga_bus"] = bus


def handlers_of(world: object) -> Mapping[type[Any], list[Callable[[Any], Awaitable[Any] | Any]]]:
    """Return the handlers of a world by the class of their messages.

    Raises:
        TypeError: A handler does not declare the class of its message.
    """
    found: dict[type[Any], list[Callable[[Any], Any]]] = {}
    for handler in world.handlers() if isinstance(world, SagaWorld) else ():
        # Of a method, the function: there is a new method for each world.
        message = _message_of(getattr(handler, "__func__", handler), inspect.ismethod(handler))
        found.setdefault(message, []).append(handler)
    return found


def services_of(world: object) -> dict[str, object]:
    """Return the attributes that a world offers to constructors, by name."""
    return {name: value for name, value in vars(world).items() if not name.startswith("_")}


@lru_cache(maxsize=256)
def _message_of(handler: Callable[..., Any], is_method: bool) -> type[Any]:
    parameters = list(inspect.signature(handler, eval_str=True).parameters.values())[int(is_method) :]
    given = parameters[0].annotation if parameters else None
    if not isinstance(given, type) or given is inspect.Parameter.empty:
        name = getattr(handler, "__qualname__", repr(handler))
        msg = f"The handler {name} does not declare the class of its message. Annotate its first parameter."
        raise TypeError(msg)
    return given
