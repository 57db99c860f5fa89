"""Declarations of sagas that cannot work are refused when they are made or registered, and steps before their effect."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from catga_core import CatgaOptions, Event, add_catga
from catga_core.errors import ConfigurationError, DeclarationError
from catga_core.sagas import Saga, SagaContext, SagaState, add_sagas, saga
from tests.core.sagas.replicas import Data, Replicas, saga_of


class Noticed(Event):
    key: str


def test_saga_without_parentheses_is_refused() -> None:
    bare: Any = saga

    with pytest.raises(DeclarationError, match=r"@saga\(\)"):

        @bare
        class Bare(Saga[Data, str]):
            async def execute(self, data: Data, saga: SagaContext) -> str:
                return ""


@pytest.mark.parametrize(
    "keys",
    [
        {Noticed: None},
        {Noticed: "key"},
        {Noticed: lambda: 1},
        {Noticed: lambda _a, _b: 1},
        [Noticed],
        Noticed,
    ],
)
def test_waits_for_without_a_function_of_the_event_is_refused(keys: Any) -> None:
    with pytest.raises(DeclarationError, match="waits_for"):
        saga(waits_for=keys)


@pytest.mark.parametrize("argument", ["retry", "compensation_retry"])
def test_retry_that_is_no_policy_is_refused(argument: str) -> None:
    options: dict[str, Any] = {argument: 3}

    with pytest.raises(DeclarationError, match=argument):
        saga(**options)


def plain(self: Any, data: Data, saga: SagaContext) -> str:
    return ""


async def without_context(self: Any, data: Data) -> str:
    return ""


async def with_more(self: Any, data: Data, saga: SagaContext, more: int) -> str:
    return ""


async def generated(self: Any, data: Data, saga: SagaContext) -> Any:
    yield ""


@pytest.mark.parametrize("execute", [plain, without_context, with_more, generated])
def test_execute_that_cannot_be_called_is_refused(execute: Callable[..., Any]) -> None:
    wrong = saga_with(execute=execute)

    with pytest.raises(ConfigurationError, match=r"self, data, saga\)"):
        add_sagas(add_catga(CatgaOptions(service_name="orders")), wrong)


def saga_with(**methods: Any) -> Any:
    class Wrong(Saga[Data, str]):
        async def execute(self, data: Data, saga: SagaContext) -> str:
            return ""

    for name, method in methods.items():
        setattr(Wrong, name, method)
    return Wrong


def test_saga_without_execute_is_refused() -> None:
    class Missing(Saga[Data, str]):
        pass

    assert inspect.isabstract(Missing)
    with pytest.raises(ConfigurationError, match="has no execute"):
        add_sagas(add_catga(CatgaOptions(service_name="orders")), Missing)


def test_compensate_that_cannot_be_called_is_refused() -> None:
    async def compensate(self: Any) -> None:
        return

    with pytest.raises(ConfigurationError, match="compensate"):
        add_sagas(add_catga(CatgaOptions(service_name="orders")), saga_with(compensate=compensate))


async def something() -> None:
    return


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda context, run: context.step("charge", something()), "TypeError"),
        (lambda context, run: context.step("charge", None), "TypeError"),
        (lambda context, run: context.step("charge", run, compensate="undo"), "TypeError"),
        (lambda context, run: context.step(run, "charge"), "ValueError"),
        (lambda context, run: context.step("charge", run, timeout=-1), "ValueError"),
    ],
)
async def test_step_that_cannot_work_has_no_effect(replicas: Replicas, call: Any, error: str) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await call(saga, replicas.effect("charge"))
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.state is SagaState.COMPENSATED
    assert result.error is not None
    assert result.error.details["exception"] == error
    assert replicas.effects == []
    assert result.steps == []
