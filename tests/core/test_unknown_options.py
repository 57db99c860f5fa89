"""An option that does not exist is named, with the near one."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from catga_core import CatgaOptions, ConfigurationError, Event, add_catga
from catga_core.errors import UnknownOptionError
from catga_core.event_sourcing import add_event_publisher
from catga_core.event_sourcing.consumers import ConsumerOptions
from catga_core.event_sourcing.subscriptions import add_subscription
from catga_core.reliability import InboxOptions, OutboxOptions
from catga_nats import NatsOptions
from catga_redis import RedisOptions
from catga_sqlite import SqliteOptions


@pytest.mark.parametrize(
    ("make", "wrong", "near"),
    [
        (CatgaOptions, "servce_name", "service_name"),
        (CatgaOptions, "outbox_batchsize", "outbox_batch_size"),
        (OutboxOptions, "bacth_size", "batch_size"),
        (InboxOptions, "retention", "retention_seconds"),
        (ConsumerOptions, "attempt", "attempts"),
        (SqliteOptions, "synchronos", "synchronous"),
        (RedisOptions, "prefx", "prefix"),
        (NatsOptions, "request_timout", "request_timeout"),
    ],
)
def test_unknown_option_is_answered_with_the_near_one(
    make: Callable[..., Any], wrong: str, near: str
) -> None:
    with pytest.raises(UnknownOptionError) as raised:
        make(**{wrong: "secret"})

    [problem] = raised.value.problems
    assert repr(wrong) in problem
    assert getattr(make, "__name__", "") in problem
    assert f"did you mean {near!r}?" in problem
    assert "secret" not in problem
    assert isinstance(raised.value, ConfigurationError)
    assert isinstance(raised.value, TypeError)


def test_every_unknown_option_is_listed() -> None:
    wrong: Any = {"stroe": "memory://", "wholly_different": 1}

    with pytest.raises(UnknownOptionError) as raised:
        CatgaOptions(**wrong)

    first, second = raised.value.problems
    assert "did you mean 'store'?" in first
    assert "use one of service_name, transport" in second


def test_option_by_position_is_refused_without_showing_it() -> None:
    make: Any = CatgaOptions

    with pytest.raises(UnknownOptionError) as raised:
        make("nats://user:secret@localhost")

    assert "by name" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_unknown_option_of_a_consumer_is_named() -> None:
    wrong: Any = {"batchsize": 3}

    with pytest.raises(UnknownOptionError, match="batch_size"):
        add_event_publisher(add_catga(), **wrong)


def test_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(UnknownOptionError(["a", "b"])))

    assert type(error) is UnknownOptionError
    assert error.problems == ("a", "b")


@pytest.mark.parametrize(
    "options", [CatgaOptions(service_name="a"), RedisOptions(prefix="a"), OutboxOptions()]
)
def test_options_are_copied_and_pickled_as_before(options: Any) -> None:
    assert copy.copy(options) == options
    assert pickle.loads(pickle.dumps(options)) == options


def test_signatures_stay_those_of_the_options() -> None:
    assert "prefix" in inspect.signature(RedisOptions).parameters
    assert "service_name" in inspect.signature(CatgaOptions).parameters
    assert msgspec.structs.replace(CatgaOptions(), service_name="b").service_name == "b"


def test_option_of_a_subscription_is_proposed_before_those_of_all_consumers() -> None:
    async def on_event(event: Event) -> None: ...

    with pytest.raises(UnknownOptionError, match="did you mean 'partitions'"):
        add_subscription(add_catga(), "s", on_event, partition=3)  # type: ignore[call-arg]
