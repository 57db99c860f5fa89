"""What arrives from peers that are older, newer, broken or hostile."""

from __future__ import annotations

import asyncio
import enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from nats.aio.client import Client

from catga_core.interfaces import MessageContext
from catga_core.messages import Command, message_type
from catga_core.messages.context import begin_context
from catga_core.messages.results import CatgaResult, Success
from catga_core.messages.serialization import EnvelopeCodec, json_serializer, msgpack_serializer
from catga_nats import headers as headers_form
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.nats.support import (
    Add,
    AddOfTomorrow,
    Blob,
    Endpoint,
    Happened,
    Sum,
    adder,
    count,
    publish,
    running,
    send,
)

pytestmark = pytest.mark.nats

CODEC = EnvelopeCodec(msgpack_serializer())
ENVELOPE = [1, "Add", 1, "id", "", None, None, None, None, None, {"left": 1, "right": 2}]


def but(index: int, value: Any) -> bytes:
    return msgspec.msgpack.encode([*ENVELOPE[:index], value, *ENVELOPE[index + 1 :]])


async def ask(
    peer: Client, subject: str, payload: bytes, headers: dict[str, str] | None = None
) -> CatgaResult[Any]:
    answer = await peer.request(subject, payload, timeout=5, headers=headers)
    return CODEC.decode_result(Sum, answer.data)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"\xff\x00 secret", "", id="noise"),
        pytest.param(b'{"secret": 1}', "", id="JSON where msgpack is spoken"),
        pytest.param(msgspec.msgpack.encode({"secret": 1}), "", id="a map"),
        pytest.param(msgspec.msgpack.encode(ENVELOPE)[:-3], "", id="cut off"),
        pytest.param(but(0, 2), "envelope format 2", id="another format"),
        pytest.param(but(1, "Subtract"), "Subtract", id="another message"),
        pytest.param(but(2, 7), "v7", id="another version"),
        pytest.param(but(6, "soon"), "", id="a deadline that is a text"),
        pytest.param(msgspec.msgpack.encode(ENVELOPE[:5]), "", id="an array too short"),
        pytest.param(b"\x91" * 900_000, "", id="nested too deep"),
    ],
)
async def test_what_cannot_be_read_is_answered_and_recorded_without_its_payload(
    nats_server_shared: NatsServer,
    peer: Client,
    payload: bytes,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running(nats_server_shared.url, adder(), subject_prefix="hostile") as receiver:
        error = (await ask(peer, "hostile.request.Add", payload)).error
        assert error.code == "SERIALIZATION_FAILED"
        assert told in error.message
        assert count(receiver, "requests_refused") == 1
        # The subscription lives.
        assert await ask(peer, "hostile.request.Add", msgspec.msgpack.encode(ENVELOPE)) == Success(Sum(3))
    logged = "".join(capsys.readouterr())
    assert "catga.message_refused" in logged
    assert "secret" not in logged + error.message


class Color(enum.Enum):
    RED = "red"


class Card(msgspec.Struct, tag="card", frozen=True):
    number: int


class Cash(msgspec.Struct, tag="cash", frozen=True):
    coins: int


class Item(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    quantity: Annotated[int, msgspec.Meta(ge=1)]


class Buy(Command[Sum], frozen=True):
    items: list[Item]
    color: Color = Color.RED
    kind: Literal["new", "old"] = "new"
    paid: Card | Cash | None = None


GOOD = {"items": [{"quantity": 1}]}


@pytest.mark.parametrize("form", ["body", "headers"])
@pytest.mark.parametrize("serializer", ["msgpack", "json"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"items": [{"quantity": "secret"}]}, "items[0].quantity", id="another type"),
        pytest.param({"items": [{"quantity": 0}]}, "items[0].quantity", id="a broken constraint"),
        pytest.param({"items": [None]}, "items[0]", id="nil for a map"),
        pytest.param({}, "", id="a field missing"),
        pytest.param({"items": "secret"}, "items", id="a text for a list"),
        pytest.param({**GOOD, "color": "secret"}, "color", id="no member of the enumeration"),
        pytest.param({**GOOD, "kind": "secret"}, "kind", id="none of the literals"),
        pytest.param({**GOOD, "paid": {"type": "secret"}}, "paid.type", id="an unknown tag"),
        pytest.param({"items": [{"quantity": 1, "secret": 1}]}, None, id="an unknown field"),
        pytest.param("secret", "", id="no fields at all"),
    ],
)
async def test_a_body_that_breaks_its_types_is_invalid_by_field_and_without_its_payload(
    nats_server_shared: NatsServer,
    peer: Client,
    body: Any,
    field: str | None,
    serializer: str,
    form: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def buy(message: Buy, context: MessageContext) -> CatgaResult[Sum]:
        return Success(Sum(len(message.items)))

    used = json_serializer() if serializer == "json" else msgpack_serializer()
    prefix = f"invalid-{form}-{serializer}"

    async def asked(body: Any) -> CatgaResult[Any]:
        if form == "headers":
            answer = await peer.request(
                f"{prefix}.request.Buy", used.encode(body), timeout=5, headers={"catga-format": "1"}
            )
            read = headers_form.decode_result(Sum, answer.headers or {}, answer.data, used)
            assert read is not None
            return read
        data = used.encode([1, "Buy", 1, "id", "", None, None, None, None, None, body])
        answer = await peer.request(f"{prefix}.request.Buy", data, timeout=5)
        return EnvelopeCodec(used).decode_result(Sum, answer.data)

    url = nats_server_shared.url
    async with running(url, Endpoint(Buy, buy), serializer=serializer, subject_prefix=prefix) as receiver:
        error = (await asked(body)).error
        assert error.code == "VALIDATION_FAILED"
        (problem,) = error.details["errors"]
        assert field is None or problem["field"] == field
        assert problem["message"]
        assert count(receiver, "requests_refused") == 1
        assert await asked(GOOD) == Success(Sum(1))
    logged = "".join(capsys.readouterr())
    assert "catga.message_refused" in logged
    assert "secret" not in f"{logged} {error.message} {error.details}"


async def test_an_unreadable_event_is_counted_and_the_next_one_is_handled(
    nats_server_shared: NatsServer, peer: Client
) -> None:
    handled: list[int] = []

    async def handle(event: Happened, context: MessageContext) -> None:
        handled.append(event.number)

    async with running(
        nats_server_shared.url, events=(Endpoint(Happened, handle),), subject_prefix="hostile-events"
    ) as both:
        await peer.publish("hostile-events.event.Happened", b"\xc1")
        await peer.flush()
        await publish(both, Happened(1))
        await eventually(lambda: handled == [1])
        assert count(both, "events_refused") == 1


async def test_an_older_receiver_says_which_version_it_knows(nats_server_shared: NatsServer) -> None:
    async with running(nats_server_shared.url, adder(), subject_prefix="versions") as both:
        error = (await send(both, AddOfTomorrow(1, 2))).error
    assert error.code == "SERIALIZATION_FAILED"
    assert "v2" in error.message
    assert "v1" in error.message


async def test_a_request_without_a_place_to_answer_is_handled(
    nats_server_shared: NatsServer, peer: Client
) -> None:
    async with running(nats_server_shared.url, adder(), subject_prefix="no-reply") as receiver:
        await peer.publish("no-reply.request.Add", msgspec.msgpack.encode(ENVELOPE))
        await eventually(lambda: count(receiver, "requests_received") == 1)
        assert count(receiver, "replies_lost") == 0


async def test_an_unreadable_answer_is_a_failure(nats_server_shared: NatsServer, peer: Client) -> None:
    async def nonsense(request: Any) -> None:
        await request.respond(b"\xc1 secret")

    await peer.subscribe("nonsense.request.Add", cb=nonsense)
    await peer.flush()
    async with running(nats_server_shared.url, subject_prefix="nonsense") as sender:
        error = (await send(sender, Add(1, 2))).error
    assert error.code == "SERIALIZATION_FAILED"
    assert "secret" not in error.message


async def test_answers_nobody_asked_for_are_counted_and_dropped(
    nats_server_shared: NatsServer, peer: Client
) -> None:
    async def twice(request: Any) -> None:
        for _ in range(2):
            await request.respond(CODEC.encode_result(Success(Sum(1))))

    await peer.subscribe("twice.request.Add", cb=twice)
    await peer.flush()
    async with running(nats_server_shared.url, subject_prefix="twice") as sender:
        assert (await send(sender, Add(1, 2))).is_success
        await eventually(lambda: count(sender, "replies_late") == 1)


async def test_a_foreign_peer_needs_one_header_and_the_bare_body(
    nats_server_shared: NatsServer, peer: Client
) -> None:
    seen: list[MessageContext] = []

    async def handle(message: Add, context: MessageContext) -> CatgaResult[Sum]:
        seen.append(context)
        return Success(Sum(message.left + message.right))

    options: dict[str, Any] = {"serializer": "json", "subject_prefix": "foreign"}
    async with running(nats_server_shared.url, Endpoint(Add, handle), **options):
        headers = {"Catga-Format": "1", "x-tenant": "a"}
        answer = await peer.request(
            "foreign.request.Add", b'{"left":1,"right":2}', timeout=5, headers=headers
        )
        assert answer.data == b'{"total":3}'
        assert answer.headers == {"catga-status": "ok"}
        refused = await peer.request("foreign.request.Add", b"[]", timeout=5, headers={"catga-format": "2"})
        assert refused.headers is not None
        assert refused.headers["catga-code"] == "SERIALIZATION_FAILED"
        for wrong in ({"catga-deadline": "x"}, {"catga-name": "Sub"}, {"catga-version": "9"}):
            refused = await peer.request(
                "foreign.request.Add", b"{}", timeout=5, headers={"catga-format": "1", **wrong}
            )
            assert refused.headers is not None
            assert refused.headers["catga-status"] == "error"
    assert len(seen) == 1
    assert seen[0].headers == {"x-tenant": "a"}
    assert seen[0].message_id == seen[0].correlation_id != ""


async def test_a_header_that_cannot_travel_fails_before_it_is_sent(nats_server_shared: NatsServer) -> None:
    async with running(nats_server_shared.url, adder(), envelope="headers", subject_prefix="h") as both:
        for bad in ("catga-name", "Nats-Msg-Id", "a b", "a:b", "ä", "traceparent"):
            context = begin_context(headers={bad: "x"})
            error = (await both.request(message_type(Add), Add(1, 2), context)).error
            assert error.code == "SERIALIZATION_FAILED"
            assert repr(bad) in error.message
        assert count(both, "requests_sent") == 0


# --- sizes ---


async def blob(message: Blob, context: MessageContext) -> CatgaResult[bytes]:
    return Success(b"x" * message.answer_size)


@pytest.mark.parametrize("envelope", ["body", "headers"])
async def test_an_oversized_request_is_not_sent_and_an_oversized_answer_becomes_an_error(
    envelope: str,
) -> None:
    async with NatsServer(max_payload=64 * 1024) as server:
        receiver = Endpoint(Blob, blob)
        async with running(server.url, receiver, envelope=envelope) as both:
            error = (await send(both, Blob(b"x" * 70_000))).error
            assert (error.code, error.details["limit"]) == ("SERIALIZATION_FAILED", 65_536)
            assert "70" in error.message
            assert count(both, "requests_sent") == 0
            error = (await send(both, Blob(b"", answer_size=70_000))).error
            assert error.code == "SERIALIZATION_FAILED"
            assert "the answer" in error.message
            # To the byte: what is at the limit passes, and the connection was never closed for a violation.
            assert (await send(both, Blob(b"x" * 60_000, answer_size=60_000))).is_success
            assert count(both, "connections_lost") == 0


async def test_our_own_limit_holds_in_both_directions(nats_server_shared: NatsServer) -> None:
    url = nats_server_shared.url
    async with (
        running(url, Endpoint(Blob, blob), max_payload=2048, subject_prefix="own-limit") as small,
        running(url, subject_prefix="own-limit") as large,
    ):
        assert (await send(small, Blob(b"x" * 3000))).error.code == "SERIALIZATION_FAILED"
        assert (await send(large, Blob(b"x" * 3000))).error.code == "SERIALIZATION_FAILED"
        assert (await send(large, Blob(b"x" * 1000))).is_success
        assert count(small, "requests_refused") == 1


async def test_an_unserializable_value_is_a_failure_on_either_side(nats_server_shared: NatsServer) -> None:
    async def unserializable(message: Add, context: MessageContext) -> CatgaResult[Any]:
        return Success(object())

    async with running(
        nats_server_shared.url, Endpoint(Add, unserializable), subject_prefix="unserializable"
    ) as both:
        assert (await send(both, Add(1, 2))).error.code == "SERIALIZATION_FAILED"
        assert (await send(both, Add(object(), 2))).error.code == "SERIALIZATION_FAILED"  # type: ignore[arg-type]


async def test_large_messages_pass_whole_among_small_ones(nats_server_shared: NatsServer) -> None:
    async with running(nats_server_shared.url, Endpoint(Blob, blob), adder()) as both:
        sizes = [0, 1, 1000, 40_000, 65_000, 70_000, 300_000, 1_000_000] * 3
        large = [send(both, Blob(b"y" * (size // 2), answer_size=size)) for size in sizes]
        small = [send(both, Add(number, 0)) for number in range(500)]
        results = await asyncio.gather(*large, *small)
    assert [len(result.unwrap()) for result in results[: len(sizes)]] == sizes
    assert [result.unwrap().total for result in results[len(sizes) :]] == list(range(500))


async def test_trace_headers_of_a_peer_become_no_further_nats_headers(
    nats_server_shared: NatsServer, peer: Client
) -> None:
    async with running(nats_server_shared.url, adder(), subject_prefix="injected") as receiver:
        for index, text in (
            (7, "00-aa\r\nx-injected: yes"),
            (8, "ts\r\nx-two: 2"),
            (3, "id\r\nFORGED"),
            (1, "Add\r\n"),
        ):
            error = (await ask(peer, "injected.request.Add", but(index, text))).error
            assert error.code == "SERIALIZATION_FAILED"
            assert error.message.isprintable()
        assert count(receiver, "requests_refused") == 4


async def test_answer_to_a_name_of_many_bytes_is_short(nats_server_shared: NatsServer, peer: Client) -> None:
    async with running(nats_server_shared.url, adder(), subject_prefix="long-name"):
        answer = await peer.request("long-name.request.Add", but(1, "A" * 900_000), timeout=5)

    assert len(answer.data) < 1000


@pytest.mark.parametrize("header", ["catga-message-id", "catga-correlation-id", "catga-causation-id"])
async def test_ids_in_headers_are_checked_after_they_are_unquoted(
    nats_server_shared: NatsServer, peer: Client, header: str
) -> None:
    async with running(nats_server_shared.url, adder(), subject_prefix="quoted") as receiver:
        given = {"catga-format": "1", header: "a%0D%0AFORGED"}
        await peer.publish(
            "quoted.request.Add", msgspec.msgpack.encode({"left": 1, "right": 2}), headers=given
        )
        await eventually(lambda: count(receiver, "requests_refused") == 1)
