"""What clients do: calls of a store, alone or several in one unit of work, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from hypothesis import strategies as st


class Call(msgspec.Struct, frozen=True):
    """One call of a method of the store.

    Parameters:
        method: its name.
        arguments: those by position; a `Kept` among them is replaced before the call.
        options: those by name.
    """

    method: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = {}

    def __str__(self) -> str:
        options = [f"{name}={value!r}" for name, value in self.options.items()]
        return f"{self.method}({', '.join([*map(repr, self.arguments), *options])})"


class Kept(msgspec.Struct, frozen=True):
    """Something that an earlier call has given: a claim, a lease.

    Parameters:
        number: which of them, counted around.
        changed: whether it is given with another content under the same ids.
    """

    number: int
    changed: bool = False


class Work(msgspec.Struct, frozen=True):
    """What one client does.

    Parameters:
        client: which one.
        delay: how many turns of the loop it lets others have before, and between its calls.
        calls: one, or those of a unit of work.
        unit: whether they are in a unit of work.
        commits: whether that is left without an error.
    """

    client: int
    delay: int
    calls: list[Call]
    unit: bool = False
    commits: bool = True


class Answer(msgspec.Struct):
    """What a call has given.

    Parameters:
        value: what it has returned.
        code: of the error it raised, `None` for none.
        known: whether it could be seen: not, where a unit of work writes when it is committed.
    """

    value: Any = None
    code: str | None = None
    known: bool = True

    def gives(self, value: object) -> bool:
        """Tell whether it may be the answer of a call that has succeeded with a value."""
        return not self.known or (self.code is None and self.value == value)

    def fails(self, code: str) -> bool:
        """Tell whether it is the answer of a call that is refused."""
        if not self.known:
            raise WouldFailError
        return self.code == code

    def __str__(self) -> str:
        return (f"raised {self.code}" if self.code else repr(self.value)) if self.known else "not seen"


class WouldFailError(Exception):
    """The model would refuse a call of which the answer was not seen, and so its unit of work."""


class Outcome(msgspec.Struct):
    """What came of a client's work.

    Parameters:
        work: the work.
        calls: its calls as they were made.
        answers: of those that were made; nothing is said of the others.
        code: of the error that the whole has ended with, `None` for none.
    """

    work: Work
    calls: list[Call]
    answers: list[Answer]
    code: str | None = None

    def __str__(self) -> str:
        lines = [
            f"client {self.work.client}: {call} -> {answer}"
            for call, answer in zip(self.calls, self.answers, strict=False)
        ]
        if self.work.unit:
            end = self.code or ("committed" if self.work.commits else "rolled back")
            lines = ["unit of work:", *(f"  {line}" for line in lines), f"  {end}"]
        return "\n".join(lines)


class Model(Protocol):
    """What a store is, in a few lines; for each method of its port one that tells whether an answer may be right.

    Such a method is given the answer before the arguments, and changes the model as the call has changed the store.
    """

    port: Any
    """The store's port in `Stores`."""
    now: float
    """The time of the clients' clock."""

    def copy(self) -> Any:
        """Return another that is the same."""
        ...

    @staticmethod
    def calls() -> st.SearchStrategy[Call]:
        """Return calls to make."""
        ...

    @staticmethod
    def joining() -> st.SearchStrategy[Call] | None:
        """Return calls that join a unit of work, `None` for a store that has none."""
        ...

    @staticmethod
    def looks() -> list[Call]:
        """Return calls that show all there is."""
        ...

    @staticmethod
    def kept(call: Call, answer: Answer) -> list[Any]:
        """Return what of a call later calls may be about."""
        ...

    @staticmethod
    def prepared(argument: Any) -> Any:
        """Return an argument as it is given to the store."""
        ...


class BaseModel:
    """What most models have in common."""

    port: Any
    now: float = 0.0

    def __eq__(self, other: object) -> bool:
        # The order of a dict's keys is the order of what they stand for.
        return [*map(_ordered, vars(self).values())] == [*map(_ordered, vars(other).values())]

    __hash__ = None  # type: ignore[assignment] # models change

    @staticmethod
    def joining() -> st.SearchStrategy[Call] | None:
        return None

    @staticmethod
    def kept(call: Call, answer: Answer) -> list[Any]:
        return []

    @staticmethod
    def prepared(argument: Any) -> Any:
        return argument


def _ordered(value: object) -> object:
    return list(value.items()) if isinstance(value, dict) else value
