"""`SagaValues`: the values that the functions of a declared saga receive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

D = TypeVar("D")


class SagaValues(Mapping[str, Any], Generic[D]):
    """The data of a saga, and the results of its steps by name.

    Results of a branch of `parallel` are visible to the parts after the `parallel`, not to its other branches.

    Args:
        data: The saga's data.
        transaction_id: The saga.
        results: Results of earlier steps.
    """

    __slots__ = ("_results", "data", "transaction_id")

    def __init__(self, data: D, transaction_id: str, results: Mapping[str, Any] | None = None) -> None:
        self.data: D = data
        self.transaction_id: str = transaction_id
        self._results: dict[str, Any] = dict(results or {})

    def __getitem__(self, name: str) -> Any:
        try:
            return self._results[name]
        except KeyError:
            known = ", ".join(map(repr, self._results)) or "none"
            text = (
                f"The step {name!r} has no result here; steps with a result: {known}. Use a step that always ends before this "
                "one, or values.get(...)."
            )
            raise KeyError(text) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def put(self, name: str, result: Any) -> None:
        """Add the result of a step."""
        self._results[name] = result

    def branch(self) -> SagaValues[D]:
        """Return a copy for a branch of `parallel`."""
        return SagaValues(self.data, self.transaction_id, self._results)

    def join(self, branch: SagaValues[D]) -> None:
        """Add the results of a branch."""
        self._results.update(branch)
