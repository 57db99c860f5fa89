from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catga_core import CatgaError, ConfigurationError, ErrorCode, errors
from catga_core.errors import Outcome, is_retryable

RETRYABLE = {
    "HANDLER_NOT_FOUND": False,
    "HANDLER_FAILED": False,
    "VALIDATION_FAILED": False,
    "TIMEOUT": True,
    "CIRCUIT_OPEN": True,
    "RATE_LIMITED": True,
    "CONCURRENCY_LIMITED": True,
    "CONFLICT": True,
    "NOT_FOUND": False,
    "LOCKED": True,
    "DUPLICATE_IN_PROGRESS": True,
    "TRANSPORT_FAILED": True,
    "PERSISTENCE_FAILED": True,
    "SERIALIZATION_FAILED": False,
    "SAGA_CHANGED": False,
    "SAGA_CANCELLED": False,
    "INTERNAL_ERROR": False,
}


class Declined(CatgaError):
    def __init__(self, card: str) -> None:
        super().__init__(f"{card} was declined", code="DECLINED", retryable=True, details={"card": card})
        self.card = card


def test_the_codes_and_their_flags_are_fixed():
    assert {str(code): is_retryable(code) for code in ErrorCode} == RETRYABLE


@pytest.mark.parametrize(("code", "retryable"), RETRYABLE.items())
def test_an_error_takes_its_codes_flag(code: str, retryable: bool):
    assert CatgaError(code=code).retryable is retryable
    assert CatgaError(code=ErrorCode(code), retryable=not retryable).retryable is not retryable


def test_a_code_of_the_applications_own_is_not_retryable_unless_it_is_said():
    assert not CatgaError(code="OUT_OF_STOCK").retryable
    assert CatgaError(code="OUT_OF_STOCK", retryable=True).retryable


def test_what_is_not_said_is_a_failed_handler_without_details():
    error = CatgaError("it broke")

    assert (error.message, error.code, error.retryable, error.details) == (
        "it broke",
        "HANDLER_FAILED",
        False,
        {},
    )


def test_a_code_is_a_plain_string_wherever_it_came_from():
    assert type(CatgaError(code=ErrorCode.TIMEOUT).code) is str


def test_the_text_shows_code_and_message():
    assert str(CatgaError("too late", code="TIMEOUT")) == "TIMEOUT: too late"
    assert str(CatgaError(code="TIMEOUT")) == "TIMEOUT"
    assert repr(CatgaError("too late", code="TIMEOUT")) == "CatgaError('too late', code='TIMEOUT')"


@given(
    st.text(),
    st.text(min_size=1),
    st.booleans(),
    st.dictionaries(st.text(), st.none() | st.integers(-(1 << 63), (1 << 64) - 1) | st.lists(st.text())),
)
def test_an_error_survives_pickling_and_copying(
    message: str, code: str, retryable: bool, details: dict[str, object]
):
    error = CatgaError(message, code=code, retryable=retryable, details=details)

    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (again.message, again.code, again.retryable, again.details, again.args) == (
            message,
            code,
            retryable,
            details,
            error.args,
        )


def test_an_error_of_the_applications_own_survives_pickling_with_what_it_has_of_its_own():
    error = Declined("4242")
    error.add_note("seen at the till")

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is Declined
    assert (again.card, again.code, again.retryable, str(again), again.__notes__) == (
        "4242",
        "DECLINED",
        True,
        "DECLINED: 4242 was declined",
        ["seen at the till"],
    )


def test_one_mistake_in_a_composition_is_its_own_text():
    assert str(ConfigurationError("a is missing")) == "a is missing"
    assert ConfigurationError("a is missing").problems == ("a is missing",)


def test_several_mistakes_in_a_composition_are_all_listed():
    error = ConfigurationError(["a is missing", "b is missing"])

    assert str(error) == "2 configuration errors:\n  1. a is missing\n  2. b is missing"


@pytest.mark.parametrize("problems", [["a"], ["a", "b"]])
def test_a_configuration_error_survives_pickling(problems: list[str]):
    error = ConfigurationError(problems)

    again = pickle.loads(pickle.dumps(error))

    assert (again.problems, str(again)) == (error.problems, str(error))


def test_an_error_made_of_odd_values_is_an_error_all_the_same():
    error = CatgaError(
        ValueError("no"),  # type: ignore[arg-type]
        code="ODD",
        retryable="yes",  # type: ignore[arg-type]
        details={1: "a"},  # type: ignore[dict-item]
    )
    listed = CatgaError("no", details=["a"])  # type: ignore[arg-type]

    assert (error.message, error.code, error.retryable, error.details) == ("no", "ODD", True, {"1": "a"})
    assert listed.details == {"details": ["a"]}


TYPED = [
    (errors.HandlerNotFoundError("m"), "HANDLER_NOT_FOUND"),
    (errors.TransportError("m"), "TRANSPORT_FAILED"),
    (errors.RequestTimeoutError("m"), "TIMEOUT"),
    (errors.SerializationError("m"), "SERIALIZATION_FAILED"),
    (errors.UnknownMessageError("Placed", 2, "m"), "SERIALIZATION_FAILED"),
    (errors.AmbiguousMessageError("Placed", 2, "m"), "SERIALIZATION_FAILED"),
    (errors.InternalError("m"), "INTERNAL_ERROR"),
    (errors.SagaChangedError("order-1", "the step 'charge'", None), "SAGA_CHANGED"),
    (errors.SagaCancelledError("order-1"), "SAGA_CANCELLED"),
    (errors.SagaConflictError("order-1", "it began with other data"), "CONFLICT"),
    (errors.SagaNotFoundError("order-1"), "NOT_FOUND"),
    (errors.SagaTimeoutError("late"), "TIMEOUT"),
    (errors.ConcurrencyLimitError("Pay", 3), "CONCURRENCY_LIMITED"),
    (errors.MessageTooLargeError("Pay", 9, 3, fix="raise the limit"), "SERIALIZATION_FAILED"),
    (
        errors.DuplicateInProgressError("Pay", "k", lease_expires_at=9.0, seconds_left=1.0),
        "DUPLICATE_IN_PROGRESS",
    ),
    (errors.PersistenceError("m", outcome=Outcome.UNKNOWN, retryable=False), "PERSISTENCE_FAILED"),
    (errors.ConflictError("m"), "CONFLICT"),
    (errors.CheckpointConflictError("totals", 3, 5), "CONFLICT"),
    (errors.ConcurrencyError("order-1", 0, 2), "CONFLICT"),
    (errors.RepeatedEventError("order-1", "m-1", 2), "CONFLICT"),
    (errors.EventIdConflictError("order-1", "m-1", 2), "CONFLICT"),
    (errors.MessageIdConflictError("m-1", "the outbox"), "CONFLICT"),
    (errors.EventTooLargeError("order-1", "Placed v1", 200, 100), "SERIALIZATION_FAILED"),
    (errors.StreamNotFoundError("order-1", "Order '1'", "the stream has no events"), "NOT_FOUND"),
    (errors.LockedError("m"), "LOCKED"),
    (errors.LockTimeoutError("stock", 1.5), "LOCKED"),
    (errors.LeaseLostError("the lock 'stock'", "it expired"), "LOCKED"),
]


@pytest.mark.parametrize(("error", "code"), TYPED, ids=lambda case: type(case).__name__)
def test_error_class_has_fixed_code_and_survives_pickling(error: CatgaError, code: str):
    again = pickle.loads(pickle.dumps(error))

    assert error.code == code
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert again.outcome is error.outcome


def test_every_error_class_is_covered():
    exported = {getattr(errors, name) for name in errors.__all__}
    classes = {each.__name__ for each in exported if isinstance(each, type) and issubclass(each, CatgaError)}

    assert {type(error).__name__ for error, _ in TYPED} == classes - {"CatgaError", "FixedCodeError"}


@pytest.mark.parametrize("outcome", Outcome)
def test_outcome_is_readable_and_plain_in_details(outcome: Outcome):
    error = errors.TransportError("m", outcome=outcome, details={"server": "a"})

    assert error.outcome is outcome
    assert error.details == {"server": "a", "outcome": outcome.value}
    assert type(error.details["outcome"]) is str
    assert CatgaError("as received", code="TRANSPORT_FAILED", details=error.details).outcome is outcome


@pytest.mark.parametrize(
    "details", [None, {}, {"outcome": None}, {"outcome": "later"}, {"outcome": ["unknown"]}]
)
def test_unreadable_outcome_is_none(details: dict[str, object] | None):
    assert CatgaError("m", details=details).outcome is None


def test_typed_data_matches_details():
    error = errors.EventTooLargeError("order-1", "Placed v1", 200, 100)

    assert (error.stream_id, error.size, error.limit) == ("order-1", 200, 100)
    assert error.details == {"stream_id": "order-1", "size": 200, "limit": 100, "outcome": "not_written"}
    assert error.retryable is False
