"""The contract kits of stores find stores that break a promise, and test what a storage claims."""

from __future__ import annotations

from collections import defaultdict

import pytest

from catga_testing import contracts
from catga_testing.contracts import Contract, StoresContract

pytest_plugins = ["pytester"]

HEAD = """
    import pytest
    from catga_core.interfaces import EventLog, LockProvider, SnapshotStore, StorageCapabilities
    from catga_core.memory.stores import MEMORY_PORTS, MemoryStorage, memory_stores
    from catga_testing.contracts import LockContract, SnapshotContract, StoresContract
    from tests.testing import broken_stores

    class Given:
        ports = MEMORY_PORTS
        capabilities = StorageCapabilities(durable=False, shared=False, immediate=True, connection=True)
        break_stores = staticmethod(broken_stores.good)

        @pytest.fixture
        def make_stores(self):
            storage = MemoryStorage()
            return lambda clock: self.break_stores(memory_stores(clock, storage), clock)
"""


def run(
    pytester: pytest.Pytester, body: str, *arguments: str, mode: str = "strict", loop_scope: str = "function"
) -> pytest.RunResult:
    """Run a test module of a store's author, with no configuration but pytest-asyncio's."""
    pytester.makepyfile(HEAD + body)
    scopes = [f"asyncio_default_{what}_loop_scope={loop_scope}" for what in ("fixture", "test")]
    settings = [each for setting in (f"asyncio_mode={mode}", *scopes) for each in ("-o", setting)]
    return pytester.runpytest_inprocess("-q", "-rs", "-p", "no:cacheprovider", *settings, *arguments)


BROKEN = {
    "SkippingLog": ["test_all_streams_are_read_in_the_order_of_their_positions"],
    "HastyLog": [
        "test_a_write_is_undone_when_the_block_raises[event_log.append]",
        "test_a_write_is_there_after_the_block_and_not_before[one process-event_log.append]",
    ],
    "BlindLog": [
        "test_of_many_with_the_same_expectation_exactly_one_wins[one process]",
        "test_of_many_that_expect_the_same_version_one_commits[one process]",
        "test_reading_deciding_and_writing_loses_no_update[one process]",
    ],
    "ForgetfulLog": [
        "test_with_any_it_is_recognised_in_the_streams_past",
        "test_an_append_repeated_at_the_same_time_is_stored_once[one process]",
    ],
    "PiecemealLog": ["test_a_conflict_in_one_of_several_streams_leaves_all_as_they_were"],
    "PeekingLog": ["test_nothing_gets_past_a_guard_that_is_written_to_at_the_same_time[one process]"],
    "ForgivingSagas": [
        "test_former_owner_writes_nothing[one process-append]",
        "test_unit_of_work_of_a_former_owner_commits_nothing[one process-append]",
        "test_released_saga_is_not_written[append]",
    ],
    "HastySagas": [
        "test_a_write_is_undone_when_the_block_raises[sagas.signal]",
        "test_rolled_back_signal_wakes_no_saga[one process]",
    ],
    "GreedySagas": [
        "test_waiting_sagas_get_their_turn_in_order[one process]",
        "test_limit_counts_all_versions_and_processes[one process]",
    ],
    "PushingSagas": [
        "test_saga_over_the_limit_begins_without_a_claim[one process]",
        "test_begins_after_an_expired_lease_wait_behind_it",
    ],
    "UnorderedSagas": [
        "test_sagas_are_taken_in_order_of_their_times[one process]",
        "test_sagas_of_one_time_are_taken_in_order_of_begin",
    ],
    "DeafSagas": [
        "test_signal_makes_every_waiting_saga_due[one process]",
        "test_earlier_signal_makes_saga_due",
    ],
    "RestlessSagas": ["test_parked_saga_is_not_due[one process]"],
    "QuietSagas": ["test_renewal_names_lost_and_cancelled_sagas[one process]"],
    "ImpatientSagas": ["test_commit_of_the_end_ends_the_wait_for_it"],
    "DoublingSagas": ["test_repeated_append_changes_nothing[one process]"],
    "GenerousLocks": [
        "test_a_lock_that_is_held_is_nobody_elses[one process]",
        "test_of_many_at_once_exactly_one_gets_a_lock[one process]",
        "test_many_take_turns_and_never_meet[one process]",
    ],
    "LevelLocks": [
        "test_a_released_lock_is_the_next_ones[one process]",
        "test_many_take_turns_and_never_meet[one process]",
    ],
    "ForgivingIdempotency": [
        "test_a_completion_after_the_lease_was_taken_over_is_refused[one process]",
        "test_of_a_former_owner_and_its_successor_one_completes[one process]",
    ],
    "StrictIdempotency": ["test_a_completion_after_a_lease_that_nobody_took_over_is_accepted"],
    "UnorderedOutbox": [
        "test_no_later_message_of_a_key_is_given_while_one_is_leased[one process]",
        "test_several_relays_send_each_message_once_and_each_key_in_order[one process]",
    ],
    "DeafOutbox": [
        "test_a_lease_completes_sent_messages_first[one process]",
        "test_a_lease_passes_over_sent_messages_that_are_lost[one process]",
    ],
    "ThoroughOutbox": ["test_pruning_removes_sent_messages_and_never_pending_ones[one process]"],
    "JoiningInbox": ["test_messages_and_handlers_with_similar_names_are_kept_apart"],
    "ReplacingLetters": [
        "test_a_letter_that_comes_again_is_replaced[one process]",
        "test_letters_come_in_the_order_in_which_they_first_came",
    ],
    "CountingLetters": ["test_pages_hold_still_while_letters_come_and_go"],
    "Unjoined": [
        "test_a_write_is_undone_when_the_block_raises[dead_letters.add]",
        "test_a_write_is_there_after_the_block_and_not_before[one process-dead_letters.add]",
    ],
    "ShapelessSnapshots": ["test_snapshots_of_another_shape_are_passed_over"],
    "TrustingCheckpoints": ["test_a_former_consumer_is_refused[one process]"],
    "NamelessCheckpoints": ["test_event_of_a_position_comes_back[one process-a:b]"],
}


def test_a_broken_promise_is_found(pytester: pytest.Pytester) -> None:
    classes = (
        f"class Test{name}(Given, StoresContract):\n"
        f"        break_stores = staticmethod(broken_stores.breaking(*broken_stores.BROKEN['{name}']))\n"
        for name in BROKEN
    )
    promises = [f"Test{name}::{promise}" for name, several in BROKEN.items() for promise in several]

    # One run for all of them: each costs a second to start.
    module = "test_a_broken_promise_is_found.py"
    result = run(
        pytester, "\n    " + "\n    ".join(classes), "-rf", *(f"{module}::{each}" for each in promises)
    )

    failed = {
        line.partition("::")[2].partition(" - ")[0] for line in result.outlines if line.startswith("FAILED ")
    }
    assert failed == set(promises)


@pytest.mark.parametrize(("mode", "loop_scope"), [("strict", "function"), ("auto", "session")])
def test_good_stores_pass_however_pytest_asyncio_is_set(
    pytester: pytest.Pytester, mode: str, loop_scope: str
) -> None:
    body = """
    class TestGood(Given, StoresContract):
        pass
    """

    outcome = run(pytester, body, "-W", "error", mode=mode, loop_scope=loop_scope).parseoutcomes()

    assert outcome["passed"] > 250
    assert set(outcome) == {"passed"}


def test_tests_of_unclaimed_capabilities_are_not_collected(pytester: pytest.Pytester) -> None:
    body = """
    class TestGood(Given, StoresContract):
        pass
    """

    result = run(pytester, body, "--collect-only")

    text = result.stdout.str()
    for name in (
        "test_checkpoints_are_there_after_a_restart",
        "two processes",
        "test_locks_that_join_are_taken_and_given_back_at_the_commit",
        "test_a_storage_that_writes_at_the_commit_finds_the_conflict_there",
        "test_payloads_are_the_kinds_and_bytes_of_the_same_events",
    ):
        assert name not in text
    for name in (
        "test_a_unit_of_work_has_no_part_in_locks",
        "test_a_storage_that_writes_at_once_sees_its_own_writes[outbox.add]",
    ):
        assert name in text


def test_tests_of_unclaimed_ports_are_not_collected(pytester: pytest.Pytester) -> None:
    body = """
    class TestFew(Given, StoresContract):
        ports = (SnapshotStore,)
        break_stores = staticmethod(broken_stores.without(*set(MEMORY_PORTS) - {SnapshotStore}))
    """

    outcome = run(pytester, body).parseoutcomes()
    collected = run(pytester, body, "--collect-only").stdout.str()

    assert set(outcome) == {"passed"}
    assert 25 < outcome["passed"] < 80
    assert "[snapshots.save]" in collected
    assert "[outbox.add]" not in collected


@pytest.mark.parametrize(
    ("claims", "failing", "told"),
    [
        (
            "ports = tuple(set(MEMORY_PORTS) - {LockProvider})",
            "test_every_store_is_claimed",
            "does not claim LockProvider",
        ),
        (
            "break_stores = staticmethod(broken_stores.without(LockProvider))",
            "test_claimed_ports_have_stores",
            "claims LockProvider; the storage has no such store",
        ),
        (
            "capabilities = StorageCapabilities(durable=True, shared=True, immediate=True, connection=False)",
            "test_claimed_capabilities_are_those_of_the_storage",
            "Write: capabilities = StorageCapabilities(durable=False, shared=False",
        ),
        ("payloads = True", "test_payload_log_is_claimed", "Write: payloads = False"),
    ],
)
def test_wrong_claim_fails_its_test(pytester: pytest.Pytester, claims: str, failing: str, told: str) -> None:
    body = f"""
    class TestWrong(Given, StoresContract):
        {claims}
    """

    result = run(pytester, body, f"test_wrong_claim_fails_its_test.py::TestWrong::{failing}")

    assert result.parseoutcomes() == {"failed": 1}
    assert told in result.stdout.str()


def test_claimed_port_of_a_third_party_brings_its_kit(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        scratch_kit="""
        from typing import Protocol

        import pytest
        from catga_core.interfaces import port
        from catga_testing.contracts import StoresContractBase


        @port("scratch_of_kits", kept=True, kit="scratch_kit:ScratchContract")
        class ScratchStore(Protocol):
            async def write(self, text, /): ...


        class Scratch:
            async def write(self, text, /):
                return len(text)


        class ScratchContract(StoresContractBase):
            ports = (ScratchStore,)

            async def test_scratch_is_written(self, stores):
                assert await stores[ScratchStore].write("abc") == 3
        """
    )
    pytester.syspathinsert()
    body = """
    from scratch_kit import Scratch, ScratchStore

    class TestScratch(Given, StoresContract):
        ports = (*MEMORY_PORTS, ScratchStore)

        @staticmethod
        def break_stores(stores, clock):
            return stores.with_stores({ScratchStore: Scratch()})
    """

    names = ("test_scratch_is_written", "test_every_store_is_claimed", "test_claimed_ports_have_stores")
    module = "test_claimed_port_of_a_third_party_brings_its_kit.py"
    result = run(pytester, body, *(f"{module}::TestScratch::{name}" for name in names))

    assert result.parseoutcomes() == {"passed": 3}


def test_the_kit_of_one_port_stands_alone(pytester: pytest.Pytester) -> None:
    body = """
    class TestOne(Given, SnapshotContract):
        ports = SnapshotContract.ports
        break_stores = staticmethod(broken_stores.without(LockProvider))
    """

    outcome = run(pytester, body).parseoutcomes()

    assert outcome["passed"] > 10
    assert set(outcome) == {"passed"}


def test_a_storage_with_a_time_of_its_own_is_waited_for(pytester: pytest.Pytester) -> None:
    body = """
    class TestOwnTime(Given, LockContract):
        ports = LockContract.ports
        capabilities = StorageCapabilities(
            durable=False, shared=False, immediate=True, connection=True, clock=False
        )
        break_stores = staticmethod(broken_stores.with_own_time)
    """

    outcome = run(pytester, body, "-k", "renewed_lock or run_out_is_taken").parseoutcomes()

    assert outcome["passed"] == 2


def test_no_two_tests_of_the_kits_have_one_name() -> None:
    # Of two parts that are put together, the second one's test would be dropped in silence.
    kits = [
        each for each in vars(contracts).values() if isinstance(each, type) and issubclass(each, Contract)
    ]
    for kit in kits:
        homes = defaultdict(set)
        for part in kit.__mro__:
            for name in vars(part):
                if name.startswith("test_"):
                    homes[name].add(part.__name__)

        assert {name: several for name, several in homes.items() if len(several) > 1} == {}
    assert StoresContract in kits


def test_a_subclass_without_stores_is_told_what_to_write(pytester: pytest.Pytester) -> None:
    body = """
    class TestEmpty(SnapshotContract):
        pass
    """

    result = run(pytester, body, "-k", "as_they_were or newest")

    result.stdout.fnmatch_lines(["*TestEmpty gives no stores: write @pytest.fixture def make_stores*"])


def test_the_store_kits_themselves_are_not_collected(pytester: pytest.Pytester) -> None:
    result = run(pytester, "", "--collect-only")

    result.stdout.fnmatch_lines(["*no tests collected*"])
