from __future__ import annotations

import contextlib
import gc
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catga_core import CatgaError, CatgaResult, ErrorCode, Failure, Success

values = st.none() | st.integers() | st.text() | st.lists(st.integers())


@given(values)
def test_a_success_gives_its_value_in_every_way(value: Any):
    result = CatgaResult.success(value)

    assert result.is_success
    assert result.value == result.unwrap() == value
    assert isinstance(result, Success)


def test_a_success_has_no_error():
    with pytest.raises(ValueError, match="a success has no error: look at is_success first"):
        _ = Success(1).error


def test_a_failure_gives_its_error_and_raises_it_for_its_value():
    result = CatgaResult.failure(code="OUT_OF_STOCK", message="no more", details={"left": 0})

    assert not result.is_success
    assert (result.error.code, result.error.message, result.error.details) == (
        "OUT_OF_STOCK",
        "no more",
        {"left": 0},
    )
    with pytest.raises(CatgaError) as raised:
        result.unwrap()
    assert raised.value is result.error
    with pytest.raises(CatgaError):
        _ = result.value


@pytest.mark.parametrize("given_flag", [True, False])
def test_the_retryable_flag_is_the_codes_own_unless_it_is_given(given_flag: bool):
    assert CatgaResult.failure(code=ErrorCode.TIMEOUT).error.retryable
    assert not CatgaResult.failure(code=ErrorCode.HANDLER_FAILED).error.retryable
    assert CatgaResult.failure(code=ErrorCode.TIMEOUT, retryable=given_flag).error.retryable is given_flag


def test_results_match_by_position():
    def tell(result: CatgaResult[int]) -> str:
        match result:
            case Success(value):
                return f"value {value}"
            case Failure(error):
                return f"code {error.code}"
            case _:
                return "neither"

    assert tell(Success(1)) == "value 1"
    assert tell(CatgaResult.failure(code="X")) == "code X"


def test_map_changes_a_success_and_leaves_a_failure():
    failed: CatgaResult[int] = CatgaResult.failure(code="X")

    assert Success(2).map(str) == Success("2")
    assert failed.map(str).error is failed.error


def test_what_map_is_given_may_raise():
    with pytest.raises(ZeroDivisionError):
        Success(0).map(lambda value: 1 // value)


def test_a_result_is_one_of_the_two_and_nothing_else():
    with pytest.raises(TypeError, match=r"made as Success\(value\) or Failure\(error\)"):
        _ = CatgaResult[int]().is_success


@given(values)
def test_successes_survive_pickling(value: Any):
    assert pickle.loads(pickle.dumps(Success(value))) == Success(value)


def test_failures_survive_pickling():
    error = pickle.loads(pickle.dumps(CatgaResult.failure(code="X", details={"a": [1]}))).error

    assert (error.code, error.details) == ("X", {"a": [1]})


def test_unwrapping_a_failure_leaves_no_reference_cycle():
    def unwrap() -> None:
        with contextlib.suppress(CatgaError):
            CatgaResult.failure(code="X").unwrap()

    unwrap()
    gc.collect()
    gc.disable()
    try:
        unwrap()
        assert gc.collect() == 0
    finally:
        gc.enable()
