"""The port of named values: small numbers that processes agree on."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from catga_core.errors import ConflictError
from catga_core.interfaces.port import port

_HIGHEST = 2**53 - 1


class NamedValueConflictError(ConflictError):
    """A named value is not the one that was expected; nothing was written.

    Args:
        name: The value's name.
        expected: The value that was expected, `None` for no value.
        actual: The stored value, `None` for no value.
    """

    name: str
    expected: int | None
    actual: int | None

    def __init__(self, name: str, expected: int | None, actual: int | None) -> None:
        super().__init__(
            f"The named value {name!r} was expected to be {expected} and is {actual}: another process has changed it. Read it "
            "again and retry the decision.",
            details={"name": name, "expected": expected, "actual": actual},
        )
        self.name = name
        self.expected = expected
        self.actual = actual

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name, self.expected, self.actual)


@port("named_values", kept=True, transactional=True, kit="catga_testing.contracts:NamedValueContract")
@runtime_checkable
class NamedValueStore(Protocol):
    """Keeps one number for each name: which generation is read, how many partitions there are.

    Writes join the ambient unit of work, so that they are committed together with what depends on them. Where a storage collects
    writes until the commit, a unit of work does not see its own values.
    """

    async def get(self, name: str, /) -> int | None:
        """Return a value, `None` where there is none."""
        ...

    async def set(self, name: str, value: int, /) -> None:
        """Keep a value, whatever is stored; joins the ambient unit of work.

        Args:
            name: The name.
            value: From 0 to 2**53 - 1.

        Raises:
            ValueError: The value is out of range.
        """
        ...

    async def compare_and_set(self, name: str, value: int, /, *, expected: int | None) -> None:
        """Keep a value if another one is stored now; joins the ambient unit of work.

        Of several callers with one expectation, one succeeds. To require a value without changing it until the commit, pass it
        as both.

        Args:
            name: The name.
            value: From 0 to 2**53 - 1.
            expected: The value that has to be stored now, `None` for no value.

        Raises:
            NamedValueConflictError: Another value is stored; nothing was written. Where a storage collects writes until the commit, the
                commit raises it.
            ValueError: The value is out of range.
        """
        ...

    async def delete(self, name: str, /) -> bool:
        """Remove a value; joins the ambient unit of work.

        Returns:
            Whether there was one.
        """
        ...

    async def list(self, prefix: str = "", /) -> dict[str, int]:
        """Return the values whose names begin with a prefix, in the order of their names."""
        ...


def check_value(value: int) -> None:
    """Check that a value can be kept.

    Args:
        value: The value.

    Raises:
        ValueError: It is not from 0 to 2**53 - 1.
    """
    if not 0 <= value <= _HIGHEST:
        msg = f"a named value must be from 0 to 2**53 - 1; got {value!r}."
        raise ValueError(msg)
