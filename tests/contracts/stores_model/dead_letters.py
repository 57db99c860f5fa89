"""The model of a dead letter store."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from catga_core.interfaces import ALL_LETTERS, DeadLetter, DeadLetterFilter, DeadLetterSource, DeadLetterStore
from catga_testing.contracts.stores.records import NOW, letter
from tests.contracts.stores_model.calls import Answer, BaseModel, Call

IDS, HANDLERS, TIMES = ["l-1", "l-2", "l-3", "l-4"], ["SendEmail", ""], [NOW, NOW + 10, NOW + 20]


class Failed(msgspec.Struct, frozen=True):
    """A letter to make."""

    letter_id: str
    source: DeadLetterSource
    handler: str
    failed_at: float
    attempts: int


class DeadLettersModel(BaseModel):
    """The letters in the order in which they first came."""

    port = DeadLetterStore

    def __init__(self) -> None:
        self.letters: dict[str, DeadLetter] = {}

    def copy(self) -> DeadLettersModel:
        other = DeadLettersModel()
        other.letters, other.now = {**self.letters}, self.now
        return other

    @staticmethod
    def calls() -> st.SearchStrategy[Call]:
        letter_id = st.sampled_from(IDS)
        filters = st.builds(
            DeadLetterFilter,
            source=st.none() | st.sampled_from(DeadLetterSource),
            handler=st.none() | st.sampled_from(HANDLERS),
            failed_after=st.none() | st.sampled_from(TIMES),
            failed_before=st.none() | st.sampled_from(TIMES),
        )
        joining = DeadLettersModel.joining()
        return st.one_of(
            joining,
            joining,
            st.builds(lambda each: Call("get", (each,)), letter_id),
            st.builds(lambda each: Call("replaying", (each,)), letter_id),
            st.builds(
                lambda which, most: Call("find", (which,), {"limit": most}), filters, st.integers(1, 4)
            ),
            st.builds(lambda which: Call("count", (which,)), filters),
            st.builds(lambda which: Call("purge", (which,)), filters),
        )

    @staticmethod
    def joining() -> st.SearchStrategy[Call]:
        failed = st.builds(
            Failed,
            st.sampled_from(IDS),
            st.sampled_from(DeadLetterSource),
            st.sampled_from(HANDLERS),
            st.sampled_from(TIMES),
            st.integers(1, 3),
        )
        add = st.builds(lambda each: Call("add", (each,)), failed)
        return st.one_of(add, add, st.builds(lambda each: Call("remove", (each,)), st.sampled_from(IDS)))

    @staticmethod
    def looks() -> list[Call]:
        return [Call("find", (ALL_LETTERS,), {"limit": 100}), Call("count", (ALL_LETTERS,))]

    @staticmethod
    def prepared(argument: Any) -> Any:
        if not isinstance(argument, Failed):
            return argument
        return letter(
            argument.letter_id,
            source=argument.source,
            handler=argument.handler,
            first_failed_at=argument.failed_at,
            last_failed_at=argument.failed_at,
            attempts=argument.attempts,
        )

    def add(self, answer: Answer, given: DeadLetter) -> bool:
        before = self.letters.get(given.id)
        if before is not None:
            given = msgspec.structs.replace(
                given,
                attempts=before.attempts + given.attempts,
                first_failed_at=before.first_failed_at,
                replays=before.replays,
            )
        self.letters[given.id] = given
        return answer.gives(None)

    def get(self, answer: Answer, letter_id: str) -> bool:
        return answer.gives(self.letters.get(letter_id))

    def find(self, answer: Answer, which: DeadLetterFilter, *, limit: int) -> bool:
        meant = self._meant(which)
        if answer.code is not None or list(answer.value.letters) != meant[:limit]:
            return False
        # The end is told by a page without a next one, be it an empty page.
        return (
            (answer.value.next is not None)
            if len(meant) > limit
            else (answer.value.next is None or len(meant) == limit)
        )

    def count(self, answer: Answer, which: DeadLetterFilter) -> bool:
        return answer.gives(len(self._meant(which)))

    def replaying(self, answer: Answer, letter_id: str) -> bool:
        before = self.letters.get(letter_id)
        if before is None:
            return answer.gives(None)
        self.letters[letter_id] = msgspec.structs.replace(before, replays=before.replays + 1)
        return answer.gives(self.letters[letter_id])

    def remove(self, answer: Answer, letter_id: str) -> bool:
        return answer.gives(self.letters.pop(letter_id, None) is not None)

    def purge(self, answer: Answer, which: DeadLetterFilter) -> bool:
        meant = self._meant(which)
        for each in meant:
            del self.letters[each.id]
        return answer.gives(len(meant))

    def _meant(self, which: DeadLetterFilter) -> list[DeadLetter]:
        return [
            each
            for each in self.letters.values()
            if which.source in {None, each.source}
            and which.handler in {None, each.handler}
            and (which.failed_after is None or each.last_failed_at > which.failed_after)
            and (which.failed_before is None or each.last_failed_at < which.failed_before)
        ]
