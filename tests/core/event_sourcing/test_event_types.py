"""What is stored of an event, and how it is read again."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from catga_core import CatgaError, Command, ConfigurationError, ErrorCode, Event, message
from catga_core.event_sourcing import EventTypes
from catga_core.interfaces import EventRecord
from catga_core.messages.serialization import MsgspecSerializer, json_serializer, msgpack_serializer


class OrderPlaced(Event):
    order_id: str
    amount: Decimal
    at: datetime


@message(name="order.shipped", version=3)
class Shipped(Event):
    order_id: str


SHIPPED = msgspec.msgpack.encode({"order_id": "o-1"})
PLACED = OrderPlaced("o-1", Decimal("12.50"), datetime(2030, 1, 1, tzinfo=UTC))


def record(types: EventTypes, event: Event) -> EventRecord:
    name, schema_version, format, data = types.encode(event)
    return EventRecord("e-1", name, schema_version, format, data, 0)


def stored(name: str, version: int, data: bytes, format: str = "msgpack") -> EventRecord:
    return EventRecord("e-1", name, version, format, data, 0)


def test_what_is_stored_is_the_wire_name_the_version_the_format_and_the_bytes() -> None:
    encoded = EventTypes().encode(Shipped("o-1"))
    assert encoded == ("order.shipped", 3, "msgpack", msgspec.msgpack.encode({"order_id": "o-1"}))


def test_an_event_is_read_as_it_was_stored() -> None:
    types = EventTypes()
    assert types.decode(record(types, PLACED)) == PLACED


def test_a_class_is_learned_when_an_object_of_it_is_stored() -> None:
    types = EventTypes()
    types.encode(PLACED)
    assert types.known == [OrderPlaced]


def test_registering_or_storing_again_changes_nothing() -> None:
    types = EventTypes()
    types.register(OrderPlaced, Shipped)
    types.register(OrderPlaced)
    types.encode(PLACED)
    assert types.known == [OrderPlaced, Shipped]


@pytest.mark.parametrize("serializer", [msgpack_serializer(), json_serializer()], ids=lambda each: each.name)
def test_what_the_other_built_in_serializer_has_stored_is_read(serializer: MsgspecSerializer) -> None:
    written = record(EventTypes(serializer), PLACED)
    for reader in (EventTypes(), EventTypes(json_serializer())):
        reader.register(OrderPlaced)
        assert reader.decode(written) == PLACED


def test_an_application_s_own_format_is_read_beside_the_present_one() -> None:
    old = MsgspecSerializer("reversed", reverse, reader_of_reversed)
    written = record(EventTypes(old), PLACED)
    types = EventTypes(formats=[old])
    types.register(OrderPlaced)
    assert types.decode(written) == PLACED
    assert types.encode(PLACED).format == "msgpack"


def test_an_unknown_format_is_told_with_those_there_are() -> None:
    types = EventTypes()
    types.register(Shipped)
    with pytest.raises(
        CatgaError, match=r"'e-1' .*format 'avro', and only json, msgpack are known"
    ) as caught:
        types.decode(stored("order.shipped", 3, b"", "avro"))
    assert caught.value.code == ErrorCode.SERIALIZATION_FAILED


def test_two_serializers_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="Two serializers are named 'json'"):
        EventTypes(json_serializer(), formats=[json_serializer()])


def test_unknown_event_error_names_it_and_the_fix() -> None:
    types = EventTypes()
    with pytest.raises(CatgaError) as caught:
        types.decode(stored("order.cancelled", 2, b"\x80"))
    assert caught.value.code == ErrorCode.SERIALIZATION_FAILED
    assert not caught.value.retryable
    assert "no class named order.cancelled v2 is known: import the module" in caught.value.message
    assert caught.value.details == {
        "message_id": "e-1",
        "name": "order.cancelled",
        "schema_version": 2,
        "format": "msgpack",
    }


def test_imported_class_is_read_without_registration() -> None:
    assert EventTypes().decode(stored("order.shipped", 3, SHIPPED)) == Shipped("o-1")


def test_class_imported_late_is_read_from_then_on() -> None:
    types = EventTypes()
    late = stored("order.lost", 1, SHIPPED)
    with pytest.raises(CatgaError):
        types.decode(late)

    @message(name="order.lost")
    class Lost(Event):
        order_id: str

    assert types.decode(late) == Lost("o-1")


def test_name_that_becomes_ambiguous_is_not_read_any_more() -> None:
    types = EventTypes()
    record = stored("order.doubled", 1, SHIPPED)

    @message(name="order.doubled")
    class First(Event):
        order_id: str

    assert types.decode(record) == First("o-1")

    @message(name="order.doubled")
    class Second(Event):
        order_id: str

    with pytest.raises(CatgaError, match=r"Two message classes are named order.doubled v1: .*First .*Second"):
        types.decode(record)
    types.register(Second)
    assert types.decode(record) == Second("o-1")


def test_a_newer_version_than_is_known_is_refused() -> None:
    types = EventTypes()
    types.register(Shipped)
    with pytest.raises(CatgaError, match=r"order.shipped v4 is newer than v3, the newest .* knows"):
        types.decode(stored("order.shipped", 4, b"\x80"))


def test_an_older_version_without_an_upcaster_is_refused() -> None:
    types = EventTypes()
    types.register(Shipped)
    with pytest.raises(CatgaError, match=r"no upcaster leads from order.shipped v2 .*from_version=2"):
        types.decode(stored("order.shipped", 2, b"\x80"))


def test_bytes_that_do_not_fit_are_told_by_the_field_and_without_the_value() -> None:
    types = EventTypes()
    types.register(Shipped)
    with pytest.raises(CatgaError, match=r"\(order.shipped v3\) .*`\$\.order_id`") as caught:
        types.decode(stored("order.shipped", 3, msgspec.msgpack.encode({"order_id": 998877})))
    assert caught.value.code == ErrorCode.SERIALIZATION_FAILED
    assert "998877" not in str(caught.value)


def test_an_event_without_bytes_is_refused_where_it_is_stored() -> None:
    class Odd(Event):
        anything: Any

    with pytest.raises(CatgaError, match="a Odd cannot be serialized") as caught:
        EventTypes().encode(Odd(object()))
    assert caught.value.code == ErrorCode.SERIALIZATION_FAILED


def test_registered_name_refuses_another_class_with_both_places() -> None:
    @message(name="order.shipped", version=3)
    class Other(Event):
        order_id: str

    types = EventTypes()
    types.register(Shipped)
    with pytest.raises(
        ConfigurationError, match=r"order.shipped v3: .*Shipped \(test_event_types.py:\d+\).*Other \("
    ):
        types.register(Other)
    with pytest.raises(CatgaError, match="Two message classes are named") as caught:
        types.encode(Other("o-1"))
    assert caught.value.code == ErrorCode.SERIALIZATION_FAILED


def test_several_versions_of_one_event_may_be_registered() -> None:
    @message(name="order.shipped", version=2)
    class ShippedBefore(Event):
        order: str

    types = EventTypes()
    types.register(Shipped, ShippedBefore)
    assert types.decode(stored("order.shipped", 2, msgspec.msgpack.encode({"order": "o"}))) == ShippedBefore(
        "o"
    )


@pytest.mark.parametrize("cls", [Event, Command, int, "order.shipped"])
def test_what_is_no_event_class_is_refused(cls: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not an event class"):
        EventTypes().register(cls)


def reverse(value: object) -> bytes:
    return msgspec.msgpack.encode(value)[::-1]


def reader_of_reversed(type_: Any) -> Any:
    return lambda data: msgspec.msgpack.decode(data[::-1], type=type_)
