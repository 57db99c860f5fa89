"""The contract kit finds transports that break a promise, and subclasses that leave a test out."""

from __future__ import annotations

import pytest

from catga_testing.contracts import TransportContract, TransportFactory
from catga_testing.contracts.kept import dropped_tests

pytest_plugins = ["pytester"]

HEAD = """
    import pytest
    from catga_core import TransportCapabilities
    from catga_core.memory import LocalBus, LocalTransport
    from catga_testing.contracts import TransportContract
    from tests.testing import broken_transports

    class Given(TransportContract):
        capabilities = TransportCapabilities(remote=False, zero_copy=True, streams=True)
        made = LocalTransport

        @pytest.fixture
        def make_transport(self):
            bus = LocalBus()
            return lambda clock: self.made(bus, clock)

        @pytest.fixture
        def make_upcasting_transport(self):
            bus = LocalBus()
            return lambda clock, registry: LocalTransport(bus, clock, registry=registry)
"""


def run(
    pytester: pytest.Pytester, body: str, *arguments: str, mode: str = "strict", loop_scope: str = "function"
) -> pytest.RunResult:
    """Run a test module of a plugin's author, with no configuration but pytest-asyncio's."""
    pytester.makepyfile(HEAD + body)
    scopes = [f"asyncio_default_{what}_loop_scope={loop_scope}" for what in ("fixture", "test")]
    settings = [each for setting in (f"asyncio_mode={mode}", *scopes) for each in ("-o", setting)]
    return pytester.runpytest_inprocess("-q", "-rs", "-p", "no:cacheprovider", *settings, *arguments)


BROKEN = {
    "Twice": ["test_exactly_one_of_several_replicas_handles_a_request"],
    "Silent": ["test_a_request_nobody_handles_fails_at_once", "test_after_a_drain_others_take_over"],
    "Forgetful": ["test_headers_travel[request]", "test_headers_travel[event]"],
    "Hasty": [
        "test_a_drain_finishes_and_answers_what_runs",
        "test_a_drain_finishes_the_events_that_are_being_handled",
    ],
    "Attached": [
        "test_a_cancelled_sender_leaves_the_handler_and_the_others_alone",
        "test_a_request_over_the_limit_is_refused_at_once",
    ],
    "Eager": ["test_items_arrive_before_the_stream_ends", "test_handler_waits_for_a_slow_reader"],
    "Clinging": ["test_leaving_the_loop_ends_the_handler", "test_leaving_the_loop_ends_a_handler_that_waits"],
    "Optimistic": ["test_health_tells_each_state"],
    "Boastful": [
        "test_a_traceback_never_leaves_the_process",
        "test_a_message_that_breaks_its_types_is_answered_as_invalid",
    ],
}

CLAIMS = {"Boastful": "        capabilities = TransportCapabilities(remote=True, zero_copy=True)\n"}


def test_a_broken_promise_is_found(pytester: pytest.Pytester) -> None:
    classes = (
        f"class Test{name}(Given):\n        made = broken_transports.{name}\n{CLAIMS.get(name, '')}"
        for name in BROKEN
    )
    promises = [f"Test{name}::{promise}" for name, several in BROKEN.items() for promise in several]

    # One run for all of them: each costs a second to start.
    module = "test_a_broken_promise_is_found.py"
    result = run(
        pytester, "\n    " + "\n    ".join(classes), "-rf", *(f"{module}::{each}" for each in promises)
    )

    failed = {line.split(" ")[1].partition("::")[2] for line in result.outlines if line.startswith("FAILED ")}
    assert failed == set(promises)


@pytest.mark.parametrize(("mode", "loop_scope"), [("strict", "function"), ("auto", "session")])
def test_a_good_transport_passes_however_pytest_asyncio_is_set(
    pytester: pytest.Pytester, mode: str, loop_scope: str
) -> None:
    body = """
    class TestGood(Given):
        pass
    """

    outcome = run(
        pytester, body, "-W", "error", "-k", "TestGood", mode=mode, loop_scope=loop_scope
    ).parseoutcomes()

    assert outcome["passed"] > 50
    assert set(outcome) <= {"passed", "deselected"}


def test_tests_of_unclaimed_capabilities_are_not_collected(pytester: pytest.Pytester) -> None:
    body = """
    class TestGood(Given):
        pass
    """

    text = run(pytester, body, "--collect-only").stdout.str()

    assert "test_a_traceback_never_leaves_the_process" not in text
    assert "test_a_zero_copy_transport_hands_over_the_object_itself" in text


def test_wrong_claim_fails_its_test(pytester: pytest.Pytester) -> None:
    body = """
    class TestWrong(Given):
        capabilities = TransportCapabilities(remote=True)
    """

    result = run(pytester, body, "-k", "TestWrong and claimed", "-rf")

    result.stdout.fnmatch_lines(
        ["*Write: capabilities = TransportCapabilities(remote=False, zero_copy=True, streams=True)*"]
    )


@pytest.mark.parametrize(
    "body",
    [
        """
    class TestDropping(Given):
        test_headers_travel = None
        """,
        """
    class TestDropping(Given):
        async def test_headers_travel(self):
            pass
        """,
        """
    class TestDropping(Given):
        @pytest.mark.skip(reason="later")
        async def test_headers_travel(self):
            pass
        """,
        """
    class TestDropping(Given):
        @pytest.mark.xfail
        async def test_headers_travel(self):
            assert False
        """,
        """
    class Between(Given):
        test_headers_travel = None

    class TestDropping(Between):
        pass
        """,
    ],
    ids=["removed", "replaced", "skipped", "xfail without a reason", "removed in between"],
)
def test_a_dropped_test_is_found(pytester: pytest.Pytester, body: str) -> None:
    result = run(pytester, body, "-k", "TestDropping and no_test_was_dropped")

    result.assert_outcomes(failed=1, deselected=None)
    result.stdout.fnmatch_lines(["*leaves out what the kit tests: test_headers_travel.*"])


def test_a_test_may_be_marked_xfail_with_a_reason(pytester: pytest.Pytester) -> None:
    body = """
    class TestExcused(Given):
        made = broken_transports.Forgetful

        @pytest.mark.xfail(reason="our protocol has no headers", strict=True)
        @pytest.mark.parametrize("kind", ["request", "event"])
        async def test_headers_travel(self, peers, kind):
            await super().test_headers_travel(peers, kind)
    """

    outcome = run(
        pytester, body, "-k", "TestExcused and (no_test_was_dropped or headers_travel)"
    ).parseoutcomes()

    assert (outcome["passed"], outcome["xfailed"]) == (1, 2)


def test_the_guard_itself_cannot_be_dropped() -> None:
    with pytest.raises(TypeError, match="which guards the others"):
        type("TestClever", (TransportContract,), {"test_no_test_was_dropped": None})


def test_a_test_of_the_authors_own_is_welcome() -> None:
    async def test_mine(self: object) -> None: ...

    assert dropped_tests(type("Fuller", (TransportContract,), {"test_mine": test_mine})) == []


def test_a_subclass_without_a_transport_is_told_what_to_write(pytester: pytest.Pytester) -> None:
    body = """
    class TestEmpty(TransportContract):
        pass
    """

    result = run(pytester, body, "-k", "TestEmpty and no_value_is_a_value")

    result.stdout.fnmatch_lines(["*TestEmpty gives no transport: write @pytest.fixture def make_transport*"])


def test_the_kit_itself_is_not_collected(pytester: pytest.Pytester) -> None:
    result = run(pytester, "", "--collect-only")

    result.stdout.fnmatch_lines(["*no tests collected*"])
    assert TransportFactory is not None
