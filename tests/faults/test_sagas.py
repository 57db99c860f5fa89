"""A few sagas while processes and servers are killed; `nox -s faults -- sagas` runs 1,000 for each store."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from msgspec.structs import replace

from catga_core.interfaces.saga_records import (
    NewSaga,
    SagaRecord,
    SagaState,
)
from tests.faults.histories.history import Entry
from tests.faults.kills.places import PLACES
from tests.faults.sagas import campaign
from tests.faults.sagas.checks import Seen, broken_promises
from tests.faults.sagas.ledger import Effect
from tests.faults.sagas.plan import FATES, PlaceOrder, planned
from tests.faults.sagas.recoveries import recovery_times, start_times

_SEED = 20261130


@pytest.mark.slow
@pytest.mark.nats
# Far longer than it takes: what is not settled in time is to be told, and not cut off.
@pytest.mark.timeout(240)
@pytest.mark.parametrize("store", sorted(PLACES))
async def test_whatever_is_killed_each_saga_is_completed_or_compensated(store: str) -> None:
    count = await campaign.run(store, sagas=40, seed=_SEED, seconds=3)

    assert count.problems == []
    assert count.counts["completed"] + count.counts["compensated"] == 40
    assert count.counts["completed"] > 0
    assert count.counts["compensated"] > 0
    assert count.counts["runs of sagas"] > 40
    assert sum(count.faults.values()) > 2


# --- what is looked for is found ----------------------------------------------------------------------------

BOUGHT = PlaceOrder("o-1", "tea", 2, Decimal("1.50"), "ships")
REFUSED = PlaceOrder("o-2", "tea", 1, Decimal("2.00"), "fraud")
BEFORE = {"tea": 10}
DONE = [Effect("reserve", "o-1", "2"), Effect("charge", "o-1", "3.00"), Effect("ship", "o-1", "1")]
UNDONE = [
    Effect("reserve", "o-2", "1"),
    Effect("charge", "o-2", "2.00"),
    Effect("ship", "o-2", "1"),
    Effect("recall", "o-2", "1"),
    Effect("refund", "o-2", "2.00"),
    Effect("release", "o-2", "1"),
]


def record(id: str, state: SagaState, *, problem: bytes | None = None) -> SagaRecord:
    new = NewSaga(id, "order", 1, "msgpack", b"")
    return SagaRecord(new, state, 1, 0.0, 0.0, None, leased=False, problem=problem)


GOOD = Seen(
    [record("o-1", SagaState.COMPLETED), record("o-2", SagaState.COMPENSATED)],
    [*DONE, *UNDONE],
    {"tea": 8},
    {"o-1": 1},
)


def with_effects(effects: Sequence[Effect]) -> Seen:
    return replace(GOOD, effects=effects)


def test_a_run_without_a_fault_breaks_no_promise() -> None:
    assert broken_promises([BOUGHT, REFUSED], BEFORE, GOOD) == []


@pytest.mark.parametrize(
    "seen",
    [
        replace(GOOD, records=GOOD.records[:1]),
        replace(GOOD, records=[GOOD.records[0], record("o-2", SagaState.RUNNING)]),
        replace(GOOD, records=[GOOD.records[0], record("o-2", SagaState.COMPENSATION_FAILED)]),
        replace(GOOD, records=[GOOD.records[0], record("o-2", SagaState.COMPENSATED, problem=b"parked")]),
        with_effects([*DONE, DONE[0], *UNDONE]),
        with_effects([*DONE[:2], *UNDONE]),
        with_effects([*DONE, *UNDONE[:-1]]),
        with_effects([*DONE, *UNDONE, Effect("refund", "o-1", "3.00")]),
        with_effects([*DONE, *UNDONE[:4], Effect("refund", "o-2", "1.99"), UNDONE[5]]),
        replace(GOOD, stock={"tea": 7}),
        replace(GOOD, bookings={"o-1": 2}),
        replace(GOOD, bookings={}),
        replace(GOOD, bookings={"o-1": 1, "o-2": 1}),
    ],
    ids=[
        "lost",
        "not ended",
        "not compensated",
        "parked",
        "reserved twice",
        "not shipped",
        "not released",
        "paid back and shipped",
        "a cent too little",
        "stock",
        "booked twice",
        "not booked",
        "booked though refused",
    ],
)
def test_a_broken_promise_is_found(seen: Seen) -> None:
    assert broken_promises([BOUGHT, REFUSED], BEFORE, seen) != []


@pytest.mark.parametrize("fate", ["fraud", "ships"])
def test_a_saga_that_ends_otherwise_than_planned_is_found(fate: str) -> None:
    planned_otherwise = [replace(BOUGHT, fate=fate), replace(REFUSED, fate=fate)]

    assert len(broken_promises(planned_otherwise, BEFORE, GOOD)) == 1


def run_of(id: str, at: float) -> Entry:
    return Entry(at, "pid", "run", {"id": id})


def test_a_recovery_lasts_from_the_fault_until_another_run() -> None:
    runs = {
        "one": [run_of("a", 1.0), run_of("b", 2.0), run_of("waits", 2.0)],
        "two": [run_of("a", 6.0), run_of("c", 1.0), run_of("waits", 9.0)],
    }

    times = recovery_times(runs, [("one", 0.5), ("one", 3.0), ("two", 5.0)], waiting={"waits"})

    # b and c had ended: no process ran them again.
    assert times == [3.0]


def test_a_start_lasts_from_the_kill_until_the_process_is_ready() -> None:
    history = {"one": [Entry(at, "pid", "ready", {}) for at in (0.5, 3.0, 9.0)], "two": [run_of("a", 2.0)]}

    # Before the kill at 5.0 it was ready again, and after that the one at 6.0 came first.
    assert start_times(history, [("one", 1.0), ("one", 5.0), ("one", 6.0), ("two", 1.0)]) == [2.0, 3.0]


def test_a_plan_is_the_same_for_the_same_seed_and_has_every_fate() -> None:
    plan = [planned(_SEED, number) for number in range(400)]

    assert plan == [planned(_SEED, number) for number in range(400)]
    assert {each.fate for each in plan} == set(FATES)
