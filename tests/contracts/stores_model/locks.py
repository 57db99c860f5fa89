"""The model of locks."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from catga_core.interfaces import LockLease, LockProvider
from tests.contracts.stores_model.calls import Answer, BaseModel, Call, Kept

NAMES = ["stock", "totals"]


class LocksModel(BaseModel):
    """Who holds what, and the highest number each lock was held with."""

    port = LockProvider

    def __init__(self) -> None:
        self.held: dict[str, LockLease] = {}
        self.highest: dict[str, int] = {}

    def copy(self) -> LocksModel:
        other = LocksModel()
        other.held, other.highest, other.now = {**self.held}, {**self.highest}, self.now
        return other

    @staticmethod
    def calls() -> st.SearchStrategy[Call]:
        held, leases = st.builds(Kept, st.integers(0, 5)), st.sampled_from([1.0, 10.0, 3600.0])
        acquire = st.builds(
            lambda name, lease: Call("acquire", (name,), {"lease": lease}), st.sampled_from(NAMES), leases
        )
        return st.one_of(
            acquire,
            acquire,
            st.builds(lambda each, lease: Call("renew", (each,), {"lease": lease}), held, leases),
            st.builds(lambda each: Call("release", (each,)), held),
        )

    @staticmethod
    def looks() -> list[Call]:
        return []

    @staticmethod
    def kept(call: Call, answer: Answer) -> list[Any]:
        return [answer.value] if isinstance(answer.value, LockLease) else []

    def acquire(self, answer: Answer, name: str, *, lease: float) -> bool:
        held = self.held.get(name)
        if held is not None and held.expires_at > self.now:
            return answer.gives(None)
        given = answer.value
        if not isinstance(given, LockLease) or given.fencing_token <= self.highest.get(name, 0):
            return False
        self.highest[name] = given.fencing_token
        self.held[name] = given
        return given.name == name and abs(given.expires_at - self.now - lease) < 0.002

    def renew(self, answer: Answer, held: LockLease, *, lease: float) -> bool:
        if not self._holds(held):
            return answer.fails("LOCKED")
        given = answer.value
        if not isinstance(given, LockLease):
            return False
        self.held[held.name] = given
        return (given.token, given.fencing_token) == (held.token, held.fencing_token) and abs(
            given.expires_at - self.now - lease
        ) < 0.002

    def release(self, answer: Answer, held: LockLease) -> bool:
        if not self._holds(held):
            return answer.gives(value=False)
        del self.held[held.name]
        return answer.gives(value=True)

    def _holds(self, held: LockLease) -> bool:
        current = self.held.get(held.name)
        return current is not None and current.token == held.token and current.expires_at > self.now
