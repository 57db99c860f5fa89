"""The model of an inbox."""

from __future__ import annotations

from hypothesis import strategies as st

from catga_core.interfaces import InboxStore
from tests.contracts.stores_model.calls import Answer, BaseModel, Call

MESSAGES, HANDLERS = ["m-1", "m-2"], ["SendEmail"]


class InboxModel(BaseModel):
    """When which handler was noted to have had which message."""

    port = InboxStore

    def __init__(self) -> None:
        self.notes: dict[tuple[str, str], float] = {}

    def copy(self) -> InboxModel:
        other = InboxModel()
        other.notes, other.now = {**self.notes}, self.now
        return other

    @staticmethod
    def calls() -> st.SearchStrategy[Call]:
        note = st.tuples(st.sampled_from(MESSAGES), st.sampled_from(HANDLERS))
        joining = InboxModel.joining()
        ages = st.sampled_from([1.0, 10.0, 3600.0])
        return st.one_of(
            joining,
            joining,
            st.builds(lambda each: Call("seen", each), note),
            st.builds(lambda each: Call("forget", each), note),
            st.builds(lambda age: Call("prune", (), {"older_than": age}), ages),
        )

    @staticmethod
    def joining() -> st.SearchStrategy[Call]:
        note = st.tuples(st.sampled_from(MESSAGES), st.sampled_from(HANDLERS))
        return st.builds(lambda each: Call("record", each), note)

    @staticmethod
    def looks() -> list[Call]:
        return [Call("seen", (message, handler)) for message in MESSAGES for handler in HANDLERS]

    def record(self, answer: Answer, message: str, handler: str) -> bool:
        if not answer.known and answer.value is False:
            # It was noted when it was asked, so nothing is written at the commit: the note may have been pruned meanwhile.
            return True
        if (message, handler) in self.notes:
            return answer.gives(value=False)
        self.notes[message, handler] = self.now
        return answer.gives(value=True)

    def seen(self, answer: Answer, message: str, handler: str) -> bool:
        return answer.gives((message, handler) in self.notes)

    def forget(self, answer: Answer, message: str, handler: str) -> bool:
        self.notes.pop((message, handler), None)
        return answer.gives(None)

    def prune(self, answer: Answer, *, older_than: float) -> bool:
        old = [each for each, noted in self.notes.items() if noted < self.now - older_than]
        for each in old:
            del self.notes[each]
        return answer.gives(len(old))
