"""The model of a checkpoint store."""

from __future__ import annotations

from hypothesis import strategies as st

from catga_core.interfaces import CheckpointStore
from tests.contracts.stores_model.calls import Answer, BaseModel, Call

NAMES = ["totals", "mails"]


class CheckpointsModel(BaseModel):
    """Position, fencing token and event id by name."""

    port = CheckpointStore

    def __init__(self) -> None:
        self.saved: dict[str, tuple[int, int, str | None]] = {}

    def copy(self) -> CheckpointsModel:
        other = CheckpointsModel()
        other.saved, other.now = {**self.saved}, self.now
        return other

    @staticmethod
    def calls() -> st.SearchStrategy[Call]:
        name = st.sampled_from(NAMES)
        joining = CheckpointsModel.joining()
        return st.one_of(
            joining, joining, st.builds(lambda each: Call("load", (each,)), name), st.just(Call("list"))
        )

    @staticmethod
    def joining() -> st.SearchStrategy[Call]:
        name = st.sampled_from(NAMES)
        options = st.fixed_dictionaries(
            {
                "fencing_token": st.integers(0, 3),
                "expected_position": st.none() | st.integers(0, 4),
                "event_id": st.sampled_from([None, "e-1", "e:2"]),
            }
        )
        save = st.builds(lambda *given, how: Call("save", given, how), name, st.integers(0, 4), how=options)
        return st.one_of(save, save, st.builds(lambda each: Call("delete", (each,)), name))

    @staticmethod
    def looks() -> list[Call]:
        return [Call("list")]

    def save(
        self,
        answer: Answer,
        name: str,
        position: int,
        *,
        fencing_token: int,
        expected_position: int | None,
        event_id: str | None,
    ) -> bool:
        stored, highest, _ = self.saved.get(name, (0, 0, None))
        wrong = expected_position not in {None, stored}
        if fencing_token < highest and not (wrong and answer.code == "CONFLICT"):
            return answer.fails("LOCKED")
        if wrong:
            return answer.fails("CONFLICT")
        self.saved[name] = (position, fencing_token, event_id)
        return answer.gives(None)

    def delete(self, answer: Answer, name: str) -> bool:
        return answer.gives(self.saved.pop(name, None) is not None)

    def load(self, answer: Answer, name: str) -> bool:
        if answer.value is None:
            return name not in self.saved
        return answer.value.name == name and self.saved.get(name) == (
            answer.value.position,
            answer.value.fencing_token,
            answer.value.event_id,
        )

    def list(self, answer: Answer) -> bool:
        found = [(each.name, (each.position, each.fencing_token, each.event_id)) for each in answer.value]
        return found == sorted(self.saved.items())
