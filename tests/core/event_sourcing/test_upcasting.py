"""Old events are brought to the newest shape before they are decoded. The bytes here were recorded once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from catga_core import CatgaError, ConfigurationError, ErrorCode, Event, message
from catga_core.event_sourcing import EventTypes, Upcaster, upcaster
from catga_core.interfaces import EventRecord

# OrderPlaced as three releases have written it: v1 {"id", "total"}, v2 {"order_id", "total", "legacy"},
# v3 {"order_id", "amount", "currency"}.
V1 = bytes.fromhex("82a26964a36f2d31a5746f74616ccb4028800000000000")
V1_JSON = b'{"id":"o-1","total":12.25}'
V2 = bytes.fromhex("83a86f726465725f6964a36f2d31a5746f74616ccb4028800000000000a66c6567616379c3")
V3 = bytes.fromhex("83a86f726465725f6964a36f2d31a6616d6f756e74a531322e3235a863757272656e6379a3455552")


@message(name="order.placed", version=3)
class OrderPlaced(Event):
    order_id: str
    amount: Decimal
    currency: str


NEWEST = OrderPlaced("o-1", Decimal("12.25"), "EUR")


@upcaster("order.placed", from_version=1)
def rename_id(data: dict[str, Any]) -> dict[str, Any]:
    data["order_id"] = data.pop("id")
    return data


@upcaster("order.placed", from_version=2)
def amount_with_currency(data: dict[str, Any]) -> dict[str, Any]:
    return {"order_id": data["order_id"], "amount": str(data["total"]), "currency": "EUR"}


def types(*upcasters: Upcaster, known: type[Event] = OrderPlaced) -> EventTypes:
    made = EventTypes()
    made.register(known)
    made.add_upcasters(*upcasters)
    return made


def stored(version: int, data: bytes, format: str = "msgpack", name: str = "order.placed") -> EventRecord:
    return EventRecord("e-1", name, version, format, data, 0)


@pytest.mark.parametrize(
    "record",
    [stored(1, V1), stored(1, V1_JSON, "json"), stored(2, V2), stored(3, V3)],
    ids=["v1", "v1 as json", "v2", "v3"],
)
def test_every_recorded_version_is_read_as_the_newest(record: EventRecord) -> None:
    assert types(rename_id, amount_with_currency).decode(record) == NEWEST


def test_the_order_of_registration_does_not_matter() -> None:
    assert types(amount_with_currency, rename_id).decode(stored(1, V1)) == NEWEST


def test_an_upcaster_may_rename_the_event() -> None:
    @upcaster("OrderMade", from_version=7, to_name="order.placed", to_version=1)
    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        return data

    made = types(renamed, rename_id, amount_with_currency)
    assert made.decode(stored(7, V1, name="OrderMade")) == NEWEST


def test_an_upcaster_may_skip_versions() -> None:
    @upcaster("order.placed", from_version=1, to_version=3)
    def at_once(data: dict[str, Any]) -> dict[str, Any]:
        return {"order_id": data["id"], "amount": str(data["total"]), "currency": "EUR"}

    assert types(at_once).decode(stored(1, V1)) == NEWEST


def test_an_upcaster_that_is_added_late_is_used_from_then_on() -> None:
    made = types(rename_id)
    with pytest.raises(CatgaError, match=r"no upcaster leads from order.placed v2"):
        made.decode(stored(1, V1))
    made.add_upcasters(amount_with_currency)
    assert made.decode(stored(1, V1)) == NEWEST


def test_an_upcaster_can_be_called_as_the_function_it_is() -> None:
    assert rename_id({"id": "o-1"}) == {"order_id": "o-1"}


def test_a_gap_in_the_chain_is_found_at_the_check() -> None:
    with pytest.raises(
        ConfigurationError, match=r"end with order.placed v2 .*rename_id.*Add the upcaster from v2"
    ):
        types(rename_id).check()


def test_a_chain_beyond_the_registered_class_is_found_at_the_check() -> None:
    @upcaster("order.placed", from_version=3)
    def further(data: dict[str, Any]) -> dict[str, Any]:
        return data

    with pytest.raises(
        ConfigurationError, match=r"the class is order.placed v3. Give the class @message\(version=4\)"
    ):
        types(further).check()


def test_a_chain_of_an_event_without_a_class_is_found_at_the_check() -> None:
    @upcaster("order.forgotten", from_version=1)
    def forgotten(data: dict[str, Any]) -> dict[str, Any]:
        return data

    made = EventTypes()
    made.add_upcasters(forgotten)
    with pytest.raises(
        ConfigurationError, match=r"no class named order.forgotten is known. Import the module"
    ):
        made.check()


def test_a_circle_is_found_at_the_check_and_where_it_is_met() -> None:
    @upcaster("a", from_version=1, to_name="b", to_version=1)
    def there(data: dict[str, Any]) -> dict[str, Any]:
        return data

    @upcaster("b", from_version=1, to_name="a", to_version=1)
    def back(data: dict[str, Any]) -> dict[str, Any]:
        return data

    made = types(there, back)
    with pytest.raises(ConfigurationError, match="in a circle"):
        made.check()
    with pytest.raises(CatgaError, match="in a circle"):
        made.decode(stored(1, V1, name="a"))


def test_a_whole_chain_passes_the_check() -> None:
    types(rename_id, amount_with_currency).check()


def test_two_upcasters_for_one_step_are_refused_with_their_places() -> None:
    @upcaster("order.placed", from_version=1)
    def other(data: dict[str, Any]) -> dict[str, Any]:
        return data

    made = types(rename_id)
    made.add_upcasters(rename_id)  # the same one again is none
    with pytest.raises(
        ConfigurationError, match=r"Two upcasters take order.placed v1: rename_id \(test_up.*; and other \("
    ):
        made.add_upcasters(other)


def test_an_upcaster_that_raises_is_named_with_the_event_and_its_cause_is_kept() -> None:
    @upcaster("order.placed", from_version=2)
    def broken(data: dict[str, Any]) -> dict[str, Any]:
        raise KeyError(data["total"])

    with pytest.raises(CatgaError, match=r"'e-1' \(order.placed v1\) .*raised KeyError: broken \(") as caught:
        types(rename_id, broken).decode(stored(1, V1))
    assert caught.value.code == ErrorCode.SERIALIZATION_FAILED
    assert "12.25" not in str(caught.value)
    cause = caught.value.__cause__
    assert cause is not None
    assert isinstance(cause.__cause__, KeyError)


def test_an_upcaster_that_returns_nothing_is_named() -> None:
    @upcaster("order.placed", from_version=2)
    def forgetful(data: dict[str, Any]) -> Any:
        del data["legacy"]

    with pytest.raises(CatgaError, match=r"returned NoneType, not a dict: forgetful \("):
        types(forgetful).decode(stored(2, V2))


def test_what_an_upcaster_makes_is_checked_against_the_class() -> None:
    @upcaster("order.placed", from_version=2)
    def incomplete(data: dict[str, Any]) -> dict[str, Any]:
        return {"order_id": data["order_id"]}

    with pytest.raises(CatgaError, match="missing required field `amount`"):
        types(incomplete).decode(stored(2, V2))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("order placed", {"from_version": 1}),
        ("order.placed", {"from_version": 0}),
        ("order.placed", {"from_version": 2, "to_version": 2}),
        ("order.placed", {"from_version": 2, "to_version": 1}),
        ("order.placed", {"from_version": 1, "to_name": ""}),
        ("order.placed", {"from_version": 1, "to_name": "order.made", "to_version": 0}),
    ],
)
def test_a_step_that_does_not_lead_on_is_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"cannot|must be an int from 1"):
        upcaster(name, **options)


def test_a_bare_function_is_refused() -> None:
    def bare(data: dict[str, Any]) -> dict[str, Any]:
        return data

    with pytest.raises(ConfigurationError, match=r"bare is not an upcaster. Decorate it with @upcaster"):
        EventTypes().add_upcasters(bare)  # type: ignore[arg-type]  # without a type checker it comes to this
