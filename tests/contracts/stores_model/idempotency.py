"""The model of an idempotency store."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from catga_core.interfaces import Claimed, Completed, IdempotencyStore, InProgress
from tests.contracts.stores_model.calls import Answer, BaseModel, Call, Kept

KEYS = ["charge-1", "charge-2"]


class Entry(msgspec.Struct, frozen=True):
    """A key that somebody has, or its result."""

    token: int
    expires_at: float
    result: bytes | None = None


class IdempotencyModel(BaseModel):
    """Claims and results by key, and the highest number each key was claimed with."""

    port = IdempotencyStore

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.highest: dict[str, int] = {}

    def copy(self) -> IdempotencyModel:
        other = IdempotencyModel()
        other.entries, other.highest, other.now = {**self.entries}, {**self.highest}, self.now
        return other

    @staticmethod
    def calls() -> st.SearchStrategy[Call]:
        key, claim = st.sampled_from(KEYS), st.builds(Kept, st.integers(0, 5))
        times = st.sampled_from([1.0, 10.0, 3600.0])
        claims = st.builds(lambda each, lease: Call("claim", (each,), {"lease": lease}), key, times)
        return st.one_of(
            claims,
            claims,
            IdempotencyModel.joining(),
            st.builds(lambda each, lease: Call("renew", (each,), {"lease": lease}), claim, times),
            st.builds(lambda each: Call("release", (each,)), claim),
            st.builds(lambda each: Call("wait", (each,), {"timeout": 0.0}), key),
            st.just(Call("prune")),
        )

    @staticmethod
    def joining() -> st.SearchStrategy[Call]:
        times = st.sampled_from([1.0, 10.0, 3600.0])
        return st.builds(
            lambda number, result, ttl: Call("complete", (Kept(number), result), {"ttl": ttl}),
            st.integers(0, 5),
            st.sampled_from([b"", b"charged"]),
            times,
        )

    @staticmethod
    def looks() -> list[Call]:
        return [Call("wait", (key,), {"timeout": 0.0}) for key in KEYS]

    @staticmethod
    def kept(call: Call, answer: Answer) -> list[Any]:
        return [answer.value] if isinstance(answer.value, Claimed) else []

    def claim(self, answer: Answer, key: str, *, lease: float) -> bool:
        live = self._live(key)
        if live is not None and live.result is not None:
            return answer.gives(Completed(key, live.result))
        if live is not None:
            return (
                isinstance(answer.value, InProgress)
                and answer.value.key == key
                and _near(answer.value, live.expires_at)
            )
        given = answer.value
        if not isinstance(given, Claimed) or given.fencing_token <= self.highest.get(key, 0):
            return False
        self.highest[key] = given.fencing_token
        self.entries[key] = Entry(given.fencing_token, given.expires_at)
        return given.key == key and _near(given, self.now + lease)

    def renew(self, answer: Answer, claim: Claimed, *, lease: float) -> bool:
        entry = self._of(claim)
        if entry is None or entry.result is not None:
            return answer.fails("LOCKED")
        if entry.expires_at <= self.now and answer.code == "LOCKED":
            # Run out, and not taken over: it may be had again, or not.
            return True
        given = answer.value
        if not isinstance(given, Claimed):
            return False
        self.entries[claim.key] = Entry(given.fencing_token, given.expires_at)
        return (given.key, given.fencing_token) == (claim.key, claim.fencing_token) and _near(
            given, self.now + lease
        )

    def complete(self, answer: Answer, claim: Claimed, result: bytes, *, ttl: float) -> bool:
        entry = self._of(claim)
        if entry is None:
            return answer.fails("LOCKED")
        if entry.result is not None:
            # Once: what a second completion of one claim is told is the store's to say.
            return not answer.known or answer.code in {None, "LOCKED"}
        self.entries[claim.key] = Entry(entry.token, self.now + ttl, result)
        return answer.gives(None)

    def release(self, answer: Answer, claim: Claimed) -> bool:
        entry = self._of(claim)
        if entry is not None and entry.result is None:
            del self.entries[claim.key]
        return answer.gives(None)

    def wait(self, answer: Answer, key: str, *, timeout: float) -> bool:
        assert timeout == 0
        live = self._live(key)
        return answer.gives(None if live is None or live.result is None else Completed(key, live.result))

    def prune(self, answer: Answer) -> bool:
        old = [
            key
            for key, entry in self.entries.items()
            if entry.result is not None and entry.expires_at <= self.now
        ]
        if answer.value == 0:
            # A storage that forgets by itself does so when it wants to.
            return True
        for key in old:
            del self.entries[key]
        return answer.gives(len(old))

    def _live(self, key: str) -> Entry | None:
        entry = self.entries.get(key)
        return entry if entry is not None and entry.expires_at > self.now else None

    def _of(self, claim: Claimed) -> Entry | None:
        entry = self.entries.get(claim.key)
        return entry if entry is not None and entry.token == claim.fencing_token else None


def _near(given: Claimed | InProgress, expires_at: float) -> bool:
    return abs(given.expires_at - expires_at) < 0.002
