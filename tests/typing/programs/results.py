"""How a result is made, looked at and taken apart.

mypy (2.4) takes the class in a pattern or in `isinstance` for one of Any where it is generic, as it does for
`isinstance(a_sequence_of_int, list)`: what `case Success(order)` binds is then unchecked, not wrong. `unwrap()`, `value`
after `is_success`, and a variable that says its type are checked. The expectations here say so, to be told when it changes.
"""

from __future__ import annotations

from typing import Any, assert_type

from shop import OrderResult

from catga_core import CatgaError, CatgaResult, ErrorCode, Failure, Success


def by_match(result: CatgaResult[OrderResult]) -> str:
    match result:
        case Success(order):
            assert_type(order, OrderResult)  # E: mypy[assert-type]
            return order.order_id  # E: mypy[no-any-return]
        case Failure(error):
            assert_type(error, CatgaError)
            return error.code
        case _:
            return ""


def by_isinstance(result: CatgaResult[OrderResult]) -> None:
    if isinstance(result, Success):
        assert_type(result, Success[OrderResult])  # E: mypy[assert-type]
        assert_type(result.value, OrderResult)  # E: mypy[assert-type]
    if isinstance(result, Failure):
        assert_type(result, Failure[OrderResult])  # E: mypy[assert-type]
        assert_type(result.error, CatgaError)


def by_flag(result: CatgaResult[OrderResult]) -> None:
    if result.is_success:
        assert_type(result.value, OrderResult)
    else:
        assert_type(result.error, CatgaError)
        assert_type(result.error.code, str)
        assert_type(result.error.retryable, bool)


def made() -> None:
    assert_type(CatgaResult.success(3), CatgaResult[int])
    assert_type(CatgaResult.failure(code=ErrorCode.CONFLICT, message="no"), CatgaResult[Any])
    assert_type(Success("a"), Success[str])
    assert_type(CatgaResult.success(3).map(str), CatgaResult[str])


def failed() -> CatgaResult[OrderResult]:
    return CatgaResult.failure(code="EMPTY", retryable=True, details={"field": "items"})


def succeeded() -> CatgaResult[OrderResult]:
    return Success(OrderResult("o-1"))


def wrong() -> CatgaResult[OrderResult]:
    CatgaResult.failure("EMPTY")  # E: mypy[call-arg] pyright[reportCallIssue]
    CatgaResult.failure(code="EMPTY", retry=True)  # E: mypy[call-arg] pyright[reportCallIssue]
    return CatgaResult.success("o-1")  # E: mypy[arg-type] pyright[reportReturnType]
