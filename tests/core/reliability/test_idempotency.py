from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, MutableMapping
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from catga_core import (
    CatgaError,
    CatgaResult,
    Command,
    ConfigurationError,
    Query,
    Serializer,
    current_context,
    message,
    register_type,
)
from catga_core.errors import LeaseLostError
from catga_core.features.idempotency.results import ResultCodec
from catga_core.interfaces.idempotency import Claimed, ClaimOutcome, Completed, IdempotencyStore
from catga_core.memory.stores import memory_stores
from catga_core.messages import message_type
from catga_core.messages.fingerprints import fingerprint
from catga_core.messages.serializers import json_serializer, msgpack_serializer
from catga_core.reliability import idempotent
from catga_testing import ManualClock
from tests.core.reliability.support import moved
from tests.core.support import Gate
from tests.stores import Place


class Charge(Command[int | None]):
    amount: int = 1


@idempotent(key=lambda command: command.order)
class Pay(Command[str]):
    order: str
    amount: int = 1


class Handles:
    """A handler that counts, and does what the test says."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0
        self.gate: Gate | None = None

    async def run(self) -> Any:
        self.calls += 1
        if self.gate is not None:
            await self.gate.pass_through()
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def charging(place: Place, handles: Handles, **options: Any):
    async def charge(message: Charge) -> Any:
        return await handles.run()

    async def pay(message: Pay) -> Any:
        return await handles.run()

    catga = place.container(**{"enable_idempotency": True, **options})
    catga.add_handlers(charge, pay)
    return catga


async def test_a_command_that_comes_again_gets_the_recorded_result_and_is_not_done_again(place: Place):
    handles = Handles(7, 8)
    async with charging(place, handles).running() as app:
        first = await app.mediator.send(Charge(), message_id="c-1")
        again = await app.mediator.send(Charge(), message_id="c-1")
        other = await app.mediator.send(Charge(), message_id="c-2")

    assert (first.value, again.value, other.value) == (7, 7, 8)
    assert handles.calls == 2


async def test_none_is_a_result_like_any_other(place: Place):
    handles = Handles(None, 1)
    async with charging(place, handles).running() as app:
        for _ in range(2):
            assert (await app.mediator.send(Charge(), message_id="c-1")).unwrap() is None

    assert handles.calls == 1


async def test_another_container_gives_the_recorded_result(place: Place):
    handles = Handles(7, 8)
    async with charging(place, handles).running() as one, charging(place, handles).running() as two:
        assert (await one.mediator.send(Charge(), message_id="c-1")).value == 7
        assert (await two.mediator.send(Charge(), message_id="c-1")).value == 7


@pytest.mark.parametrize("failure", [ValueError("no paper"), CatgaResult.failure(code="NO_PAPER")])
async def test_a_failure_is_not_recorded(place: Place, failure: Any):
    handles = Handles(failure, 7)
    async with charging(place, handles).running() as app:
        first = await app.mediator.send(Charge(), message_id="c-1")
        again = await app.mediator.send(Charge(), message_id="c-1")

    assert not first.is_success
    assert again.value == 7


async def test_of_many_at_once_one_is_done_and_the_others_get_its_result(place: Place):
    handles = Handles(7, 8)
    handles.gate = Gate()
    async with charging(place, handles).running() as app:
        sending = [asyncio.create_task(app.mediator.send(Charge(), message_id="c-1")) for _ in range(8)]
        await handles.gate.reached()
        await asyncio.sleep(0.01)
        handles.gate.open()
        results = [each.value for each in await asyncio.gather(*sending)]

    assert results == [7] * 8
    assert handles.calls == 1


async def test_a_duplicate_that_waits_takes_over_what_failed(place: Place):
    handles = Handles(ValueError("no paper"), 7)
    handles.gate = Gate()
    async with charging(place, handles).running() as app:
        first = asyncio.create_task(app.mediator.send(Charge(), message_id="c-1"))
        await handles.gate.reached()
        second = asyncio.create_task(app.mediator.send(Charge(), message_id="c-1"))
        await asyncio.sleep(0.01)
        handles.gate.open()

        assert not (await first).is_success
        assert (await second).value == 7


@pytest.mark.parametrize(
    ("options", "how"),
    [({"idempotency_wait_seconds": 0}, {}), ({}, {"timeout": 0.05})],
    ids=["wait", "deadline"],
)
async def test_a_duplicate_waits_no_longer_than_it_may(place: Place, options: Any, how: Any):
    handles = Handles(7)
    handles.gate = Gate()
    async with charging(place, handles, **options).running() as app:
        first = asyncio.create_task(app.mediator.send(Charge(), message_id="c-1"))
        await handles.gate.reached()
        second = await app.mediator.send(Charge(), message_id="c-1", **how)
        handles.gate.open()
        await first

    if how:
        # Whichever notices first that the deadline is over.
        assert second.error.code in {"DUPLICATE_IN_PROGRESS", "TIMEOUT"}
    else:
        assert (second.error.code, second.error.retryable) == ("DUPLICATE_IN_PROGRESS", True)
        assert "c-1" not in f"{second.error.message} {second.error.details}"
    assert handles.calls == 1


async def test_a_key_may_be_chosen_by_the_command(place: Place):
    handles = Handles("paid", "twice")
    async with charging(place, handles, enable_idempotency=False).running() as app:
        first = await app.mediator.send(Pay("o-1"))
        again = await app.mediator.send(Pay("o-1"))
        other = await app.mediator.send(Pay("o-2"))

    assert (first.value, again.value, other.value) == ("paid", "paid", "twice")


async def test_without_mark_and_option_nothing_is_remembered(place: Place):
    handles = Handles(7, 8)
    async with charging(place, handles, enable_idempotency=False).running() as app:
        await app.mediator.send(Charge(), message_id="c-1")
        assert (await app.mediator.send(Charge(), message_id="c-1")).value == 8


async def test_the_same_key_with_another_content_is_refused(place: Place):
    handles = Handles("paid", 7)
    async with charging(place, handles).running() as app:
        await app.mediator.send(Pay("o-1", 10))
        refused = await app.mediator.send(Pay("o-1", 11))
        by_id = await app.mediator.send(Charge(1), message_id="c-1")
        by_id = await app.mediator.send(Charge(2), message_id="c-1")

    assert (refused.error.code, refused.error.retryable) == ("CONFLICT", False)
    assert "was used before with other content" in refused.error.message
    assert "o-1" not in f"{refused.error.message} {refused.error.details}"
    assert refused.error.details["outcome"] == "not_started"
    assert by_id.error.code == "CONFLICT"
    assert handles.calls == 2


def test_a_field_with_its_default_is_no_other_content() -> None:
    class Send_(Command[str]):
        key: str
        copies: int = 1

    described = message_type(Send_)
    codec = ResultCodec(described, msgpack_serializer())
    record = codec.encode("sent", codec.fingerprint(Send_("k")))

    assert codec.fingerprint(Send_("k")) == fingerprint(described, {"key": "k"}, None)
    assert codec.decode(record, codec.fingerprint(Send_("k", 1))) == CatgaResult.success("sent")
    assert codec.decode(record, codec.fingerprint(Send_("k", 2))).error.code == "CONFLICT"


def test_a_command_upcast_since_gets_the_recorded_result() -> None:
    @message(name="fp.Ship", version=2)
    class Ship(Command[str]):
        order_id: str

    described = message_type(Ship)
    codec = ResultCodec(described, msgpack_serializer())
    before = fingerprint(msgspec.structs.replace(described, version=1), {"order": "o-1"}, None)
    record = codec.encode("shipped", before)

    assert codec.decode(record, codec.fingerprint(Ship("o-1"))) == CatgaResult.success("shipped")


async def test_another_content_does_not_matter_where_the_command_says_so(place: Place):
    @idempotent(key=lambda command: command.order, compare=False)
    class Ship(Command[str]):
        order: str
        asked_at: float

    async def ship(message: Ship) -> str:
        return f"shipped, as asked at {message.asked_at}"

    catga = place.container()
    catga.add_handlers(ship)
    async with catga.running() as app:
        first = await app.mediator.send(Ship("o-1", 1.0))
        again = await app.mediator.send(Ship("o-1", 2.0))

    assert again.value == first.value


async def test_sets_are_compared_as_sets(place: Place):
    @idempotent(key=lambda command: command.order)
    class Tag(Command[int]):
        order: str
        tags: set[str]

    async def tag(message: Tag) -> int:
        return len(message.tags)

    catga = place.container()
    catga.add_handlers(tag)
    words = [f"tag-{number}" for number in range(50)]
    async with catga.running() as app:
        await app.mediator.send(Tag("o-1", set(words)))
        again = await app.mediator.send(Tag("o-1", {*words[25:], *words[:25]}))

    assert again.value == 50


async def test_a_subclass_has_keys_of_its_own(place: Place):
    class PayTwice(Pay):
        pass

    async def pay_twice(message: PayTwice) -> str:
        return "again"

    handles = Handles("paid")
    catga = charging(place, handles)
    catga.add_handlers(pay_twice)
    async with catga.running() as app:
        assert (await app.mediator.send(Pay("o-1"))).value == "paid"
        assert (await app.mediator.send(PayTwice("o-1"))).value == "again"


async def test_queries_are_asked_every_time(place: Place):
    class Ask(Query[int]):
        pass

    calls = 0

    async def answer(message: Ask) -> int:
        nonlocal calls
        calls += 1
        return calls

    catga = place.container(enable_idempotency=True)
    catga.add_handlers(answer)
    async with catga.running() as app:
        await app.mediator.send(Ask(), message_id="q")
        assert (await app.mediator.send(Ask(), message_id="q")).value == 2


async def test_a_result_is_forgotten_after_its_time(memory: Place):
    clock = ManualClock()
    handles = Handles(7, 8)
    catga = charging(memory, handles, idempotency_ttl_seconds=60)
    async with moved(catga, clock) as app:
        await app.mediator.send(Charge(), message_id="c-1")
        clock.advance(59)
        assert (await app.mediator.send(Charge(), message_id="c-1")).value == 7
        clock.advance(2)
        assert (await app.mediator.send(Charge(), message_id="c-1")).value == 8


async def test_a_command_may_say_how_long_its_result_is_remembered(memory: Place):
    @idempotent(ttl=10)
    class Short(Command[int]):
        pass

    handles = Handles(1, 2)

    async def short(message: Short) -> Any:
        return await handles.run()

    clock = ManualClock()
    catga = memory.container()
    catga.add_handlers(short)
    async with moved(catga, clock) as app:
        await app.mediator.send(Short(), message_id="s")
        clock.advance(11)
        assert (await app.mediator.send(Short(), message_id="s")).value == 2


async def test_a_cancelled_command_is_given_back(place: Place):
    handles = Handles(7)
    handles.gate = Gate()
    async with charging(place, handles).running() as app:
        first = asyncio.create_task(app.mediator.send(Charge(), message_id="c-1"))
        await handles.gate.reached()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        handles.gate.open()
        assert (await app.mediator.send(Charge(), message_id="c-1")).value == 7

    assert handles.calls == 2


async def test_a_command_that_ran_out_of_time_is_given_back(place: Place):
    handles = Handles(7)
    handles.gate = Gate()
    async with charging(place, handles).running() as app:
        late = await app.mediator.send(Charge(), message_id="c-1", timeout=0.05)
        handles.gate.open()
        again = await app.mediator.send(Charge(), message_id="c-1")

    assert (late.error.code, again.value) == ("TIMEOUT", 7)


async def test_what_a_dead_process_claimed_is_done_by_another_after_its_lease(memory: Place):
    clock = ManualClock()
    handles = Handles(7)
    async with moved(charging(memory, handles, idempotency_lease_seconds=30), clock) as app:
        # A process that claimed it and died.
        await app.idempotency_store.claim("Charge:c-1", lease=30)
        sending = asyncio.create_task(app.mediator.send(Charge(), message_id="c-1"))
        await clock.sleeping(2)  # the duplicate, and the pruning
        assert handles.calls == 0
        clock.advance(31)
        assert (await sending).value == 7


async def test_the_claim_is_renewed_while_the_handler_runs(memory: Place):
    clock = ManualClock()
    handles = Handles(7)
    handles.gate = Gate()
    async with moved(charging(memory, handles, idempotency_lease_seconds=30), clock) as app:
        sending = asyncio.create_task(app.mediator.send(Charge(), message_id="c-1"))
        await handles.gate.reached()
        for _ in range(10):
            await asyncio.sleep(0.001)
            clock.advance(10)
        await asyncio.sleep(0.001)
        assert not isinstance(await app.idempotency_store.claim("Charge:c-1", lease=30), Claimed)
        handles.gate.open()
        assert (await sending).value == 7


async def test_a_claim_that_another_has_taken_over_fails_the_command_and_records_nothing(memory: Place):
    clock = ManualClock()
    fast = ManualClock(clock.time() + 31)
    handles = Handles(7)
    handles.gate = Gate()
    async with (
        moved(charging(memory, handles, idempotency_lease_seconds=30), clock) as app,
        moved(memory.container(), fast) as other,
    ):
        sending = asyncio.create_task(app.mediator.send(Charge(), message_id="c-1"))
        await handles.gate.reached()
        theirs = await other.idempotency_store.claim("Charge:c-1", lease=30)
        await asyncio.sleep(0.001)
        clock.advance(10)
        result = await sending

        assert isinstance(result.error, LeaseLostError)
        assert "another has claimed it since" in result.error.message
        assert isinstance(theirs, Claimed)
        await other.idempotency_store.complete(theirs, b"theirs", ttl=60)


class Unencodable:
    """Something msgspec has no bytes for."""

    def __init__(self, inner: Any = None) -> None:
        self.inner = inner


async def test_a_result_that_cannot_be_recorded_says_that_the_effect_stays(place: Place):
    handles = Handles(Unencodable())
    async with charging(place, handles).running() as app:
        result = await app.mediator.send(Charge(), message_id="c-1")
        again = await app.mediator.send(Charge(), message_id="c-1")

    assert (result.error.code, result.error.details["outcome"]) == ("SERIALIZATION_FAILED", "unrecorded")
    assert "The result of Charge cannot be recorded, and its effect stays" in result.error.message
    assert not again.is_success
    assert handles.calls == 2


def test_a_result_type_that_could_not_be_given_again_is_refused_at_start(place: Place):
    @idempotent()
    class Bad(Command[Unencodable | int | asyncio.Event]):
        pass

    async def bad(message: Bad) -> Any:
        return 1

    catga = place.container()
    catga.add_handlers(bad)

    async def run() -> None:
        async with catga.running():
            pass

    with pytest.raises(
        ConfigurationError,
        match=r"Bad.*, the result: Unencodable . int . Event cannot be encoded and decoded",
    ):
        asyncio.run(run())


async def test_a_recorded_result_that_cannot_be_read_any_more_is_told(place: Place):
    handles = Handles("paid")
    async with charging(place, handles).running() as app:
        store = app.idempotency_store
        claim = await store.claim("Pay:o-1", lease=30)
        assert isinstance(claim, Claimed)
        await store.complete(claim, b"\xc1 something else", ttl=60)
        result = await app.mediator.send(Pay("o-1"))

    assert (result.error.code, result.error.details["outcome"]) == ("SERIALIZATION_FAILED", "done_before")
    assert "Pay was run before, but its recorded result cannot be read" in result.error.message
    assert handles.calls == 0


@pytest.mark.parametrize("key", ["", None, 7])
async def test_a_key_that_is_no_text_fails_the_command(place: Place, key: Any):
    @idempotent(key=lambda command: key)
    class Odd(Command[int]):
        pass

    async def odd(message: Odd) -> int:
        return 1

    catga = place.container()
    catga.add_handlers(odd)
    async with catga.running() as app:
        result = await app.mediator.send(Odd())

    assert "The key of Odd must be a non-empty str" in result.error.message
    assert str(key or "'") not in result.error.message


def test_only_commands_can_be_marked():
    class Ask(Query[int]):
        pass

    with pytest.raises(TypeError, match="requires a command class; got Ask"):
        idempotent()(Ask)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="ttl must be a finite number > 0 or None; got 0"):
        idempotent(ttl=0)(Pay)
    with pytest.raises(ValueError, match="ttl must be a finite number > 0 or None; got '1d'"):
        idempotent(ttl="1d")(Pay)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="requires a command class; got Ask"):
        idempotent(Ask)  # type: ignore[type-var]


async def test_a_key_function_that_raises_is_named(memory: Place):
    @idempotent(key=lambda command: command.no_such_field)
    class Keyed(Command[int]):
        pass

    async def keyed(message: Keyed) -> int:
        raise AssertionError

    catga = memory.container()
    catga.add_handlers(keyed)
    async with catga.running() as app:
        error = (await app.mediator.send(Keyed())).error

    assert error.code == "INTERNAL_ERROR"
    assert "The key function of" in error.message
    assert "raised AttributeError" in error.message


async def test_the_mark_may_be_written_bare(memory: Place):
    @idempotent
    class Bare(Command[int]):
        pass

    handles = Handles(1, 2)

    async def bare(message: Bare) -> Any:
        return await handles.run()

    catga = memory.container()
    catga.add_handlers(bare)
    async with catga.running() as app:
        first = await app.mediator.send(Bare(), message_id="b-1")
        again = await app.mediator.send(Bare(), message_id="b-1")

    assert (first.value, again.value) == (1, 1)


class Unwritable:
    """An idempotency store that claims and cannot write what came of it."""

    def __init__(self, inner: IdempotencyStore, error: Exception) -> None:
        self.inner = inner
        self.error = error
        self.released = 0

    async def claim(self, key: str, /, *, lease: float) -> ClaimOutcome:
        return await self.inner.claim(key, lease=lease)

    async def renew(self, claim: Claimed, /, *, lease: float) -> Claimed:
        return await self.inner.renew(claim, lease=lease)

    async def complete(self, claim: Claimed, result: bytes, /, *, ttl: float) -> None:
        raise self.error

    async def release(self, claim: Claimed, /) -> None:
        self.released += 1
        await self.inner.release(claim)

    async def wait(self, key: str, /, *, timeout: float) -> Completed | None:
        return await self.inner.wait(key, timeout=timeout)

    async def prune(self, *, limit: int = 1000) -> int:
        return await self.inner.prune(limit=limit)


@pytest.mark.parametrize("unknown", [False, True])
async def test_a_result_that_the_storage_does_not_take_is_told_and_given_back_only_when_nothing_was_written(
    place: Place, unknown: bool
):
    handles = Handles(7)
    catga = charging(place, handles)
    async with catga.running() as app:
        details = {"outcome": "unknown"} if unknown else None
        broken = CatgaError("no connection", code="PERSISTENCE_FAILED", details=details)
        store = Unwritable(app.idempotency_store, broken)
        with catga.override(IdempotencyStore, store):
            result = await app.mediator.send(Charge(), message_id="c-1")

    assert (result.error.code, result.error.retryable) == ("PERSISTENCE_FAILED", False)
    assert "Charge succeeded, but its result could not be recorded" in result.error.message
    assert result.error.details["outcome"] == ("unknown" if unknown else "unrecorded")
    assert store.released == (0 if unknown else 1)


async def test_a_store_that_stands_in_for_it_is_used_by_the_next_command(place: Place):
    handles = Handles(7, 8)
    catga = charging(place, handles)
    async with catga.running() as app:
        await app.mediator.send(Charge(), message_id="c-1")
        with catga.override(IdempotencyStore, memory_stores()[IdempotencyStore]):
            assert (await app.mediator.send(Charge(), message_id="c-1")).value == 8
        assert (await app.mediator.send(Charge(), message_id="c-1")).value == 7


async def test_what_was_done_before_is_logged_and_counted(place: Place, log: list[MutableMapping[str, Any]]):
    async with charging(place, Handles(7)).running() as app:
        await app.mediator.send(Charge(), message_id="c-1")
        await app.mediator.send(Charge(), message_id="c-1")
        details = app.health()["idempotency"].details

    assert details["repeated_commands"] == 1
    [line] = [line for line in log if line["event"] == "catga.command_repeated"]
    assert (line["message_type"], line["message_id"]) == ("Charge", "c-1")
    assert "key" not in line


async def test_the_handler_sees_the_id_it_is_recognised_by(place: Place):
    seen: list[str] = []

    async def charge(message: Charge) -> int:
        seen.append(current_context().message_id)
        return 1

    catga = place.container(enable_idempotency=True)
    catga.add_handlers(charge)
    async with catga.running() as app:
        await app.mediator.send(Charge(), message_id="c-1")

    assert seen == ["c-1"]


class Priced(msgspec.Struct, frozen=True):
    share: Fraction
    at: dt.datetime


@idempotent(key=lambda command: command.order)
class Price(Command[Priced]):
    order: str
    share: Fraction


register_type(Fraction, encode=str, decode=Fraction)


@pytest.mark.parametrize(
    "formats", [(msgpack_serializer, json_serializer), (json_serializer, msgpack_serializer)]
)
async def test_recorded_result_outlives_a_change_of_the_serializer(
    place: Place, formats: tuple[Callable[[], Serializer], ...]
) -> None:
    calls: list[Price] = []

    async def price(message: Price) -> Priced:
        calls.append(message)
        return Priced(message.share, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))

    found: list[CatgaResult[Priced]] = []
    for make in formats:
        catga = place.container()
        catga.add_singleton(Serializer, make)
        catga.add_handlers(price)
        async with catga.running() as app:
            found.append(await app.mediator.send(Price("o-1", Fraction(1, 3))))
            conflict = await app.mediator.send(Price("o-1", Fraction(2, 3)))

    assert found[0].unwrap() == found[1].unwrap()
    assert conflict.error.code == "CONFLICT"
    assert len(calls) == 1


def test_recorded_result_of_an_unknown_serializer_is_a_failure() -> None:
    described = message_type(Price)
    codec = ResultCodec(described, msgpack_serializer())
    given = codec.fingerprint(Price("o-1", Fraction(1)))
    record = msgspec.msgpack.encode([1, "cap'n\n", given, b""])

    error = codec.decode(record, given).error

    assert (error.code, error.details["outcome"]) == ("SERIALIZATION_FAILED", "done_before")
    assert "\n" not in error.message
