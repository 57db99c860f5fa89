"""An aggregate by itself: its events make its state."""

from __future__ import annotations

import typing
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec
import pytest

from catga_core import CatgaError, ConfigurationError, ErrorCode, Event
from catga_core.event_sourcing import Aggregate, AggregateRepository, EventTypes, LogEventStore, apply
from catga_testing import ManualClock
from tests.core.event_sourcing.memory import Log


class Placed(Event):
    item: str


class PlacedTwice(Placed):
    pass


class Shipped(Event):
    pass


class Unrelated(Event):
    pass


@dataclass
class Order(Aggregate):
    items: list[str] = field(default_factory=list)
    shipped: bool = False

    def place(self, item: str) -> None:
        self.raise_event(Placed(item))

    @apply
    def _placed(self, event: Placed) -> None:
        self.items.append(event.item)

    @apply(Shipped)
    def _shipped(self, _: Any) -> None:
        self.shipped = True


def repository(cls: Any) -> AggregateRepository[Any]:
    return AggregateRepository(cls, LogEventStore(Log(), EventTypes(), ManualClock()))


def test_an_event_that_is_raised_changes_the_state_and_waits_to_be_saved() -> None:
    order = Order("o-1")
    order.place("tea")
    order.raise_event(Shipped())
    assert (order.items, order.shipped) == (["tea"], True)
    assert order.pending_events == (Placed("tea"), Shipped())
    assert (order.id, order.version) == ("o-1", 0)


def test_aggregates_share_no_state() -> None:
    one, other = Order("1"), Order("2")
    one.place("tea")
    assert (other.items, other.pending_events) == ([], ())


def test_a_plain_class_with_a_constructor_of_its_own_is_an_aggregate_too() -> None:
    class Counter(Aggregate):
        total: int

        def __init__(self, id: str) -> None:
            super().__init__(id)
            self.total = 0

        @apply
        def placed(self, event: Placed) -> None:
            self.total += 1

    counter = Counter("c")
    counter.raise_event(Placed("tea"))
    assert (counter.total, counter.pending_events) == (1, (Placed("tea"),))


def test_a_plain_class_with_defaults_in_it_is_an_aggregate_too() -> None:
    class Counter(Aggregate):
        total: int = 0

        @apply
        def placed(self, event: Placed) -> None:
            self.total += 1

    counter = Counter("c")
    counter.raise_event(Placed("tea"))
    assert (counter.total, Counter.total) == (1, 0)


class Changeable(msgspec.Struct):
    lines: int = 0


@dataclass
class ChangeableToo:
    lines: int = 0


@pytest.mark.parametrize(
    "make", [list, dict, set, bytearray, deque, Changeable, ChangeableToo], ids=lambda each: each.__name__
)
def test_a_default_that_all_aggregates_would_change_is_refused_where_the_class_is_made(
    make: Callable[[], Any],
) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"Basket \(test_aggregates.py:\d+\) has items = .*, which all its objects would share: make it a "
        r"@dataclass with field\(default_factory=...\), or set it in __init__",
    ):

        class Basket(Aggregate):
            items: Any = make()


def test_a_shared_default_that_a_mixin_brings_is_refused_too() -> None:
    class HasItems:
        items: dict[str, int] = {}

    with pytest.raises(ConfigurationError, match=r"Basket .* has items = \{\}"):

        class Basket(HasItems, Aggregate):
            pass


def test_defaults_that_cannot_change_and_what_belongs_to_the_class_are_fine() -> None:
    class Frozen(msgspec.Struct, frozen=True):
        lines: int = 0

    class Basket(Aggregate):
        sizes: ClassVar[list[int]] = [1]
        prices: typing.ClassVar[dict[str, int]] = {}
        names: tuple[str, ...] = ()
        lines: Frozen = Frozen()
        KNOWN = {"tea"}

    assert (Basket("1").names, Basket("1").lines) == ((), Frozen())


def test_a_dataclass_with_slots_is_an_aggregate_too_and_keeps_its_options() -> None:
    @dataclass(slots=True)
    class Slotted(Aggregate, category="thing", ignore_unknown_events=True):
        items: list[str] = field(default_factory=list)

        @apply
        def placed(self, event: Placed) -> None:
            self.items.append(event.item)

    slotted = Slotted("1")
    slotted.raise_event(Placed("tea"))
    slotted.raise_event(Unrelated())
    assert slotted.items == ["tea"]
    assert repository(Slotted).stream_id("1") == "thing-1"


def test_a_derived_event_is_applied_as_its_base() -> None:
    order = Order("o-1")
    order.raise_event(PlacedTwice("tea"))
    assert order.items == ["tea"]


def test_an_event_without_a_method_is_refused_and_not_remembered() -> None:
    order = Order("o-1")
    with pytest.raises(
        CatgaError, match=r"Order \(test_aggregates.py:\d+\) has no @apply method for Unrelated"
    ) as caught:
        order.raise_event(Unrelated())
    assert caught.value.code == ErrorCode.INTERNAL_ERROR
    assert order.pending_events == ()


def test_a_class_may_ignore_events_without_a_method_and_still_stores_what_it_raises() -> None:
    class Loose(Order, ignore_unknown_events=True):
        pass

    order = Loose("o-1")
    order.raise_event(Unrelated())
    assert order.pending_events == (Unrelated(),)


def test_a_derived_class_ignores_what_its_base_does_unless_it_says_otherwise() -> None:
    class Loose(Aggregate, ignore_unknown_events=True):
        pass

    class Derived(Loose):
        pass

    class Strict(Loose, ignore_unknown_events=False):
        pass

    Derived("1").raise_event(Unrelated())
    with pytest.raises(CatgaError):
        Strict("1").raise_event(Unrelated())


def test_an_event_whose_method_raises_is_not_remembered() -> None:
    class Picky(Aggregate):
        @apply
        def placed(self, event: Placed) -> None:
            raise ZeroDivisionError

    picky = Picky("1")
    with pytest.raises(ZeroDivisionError):
        picky.raise_event(Placed("tea"))
    assert picky.pending_events == ()


def test_what_is_no_event_cannot_be_raised() -> None:
    with pytest.raises(TypeError, match="takes an event, not a str"):
        Order("1").raise_event("tea")  # type: ignore[arg-type]  # without a type checker it comes to this


def test_two_methods_for_one_event_are_refused_where_the_class_is_made() -> None:
    with pytest.raises(ConfigurationError, match="two methods with @apply for Placed, first and second"):

        class Double(Aggregate):
            @apply
            def first(self, event: Placed) -> None: ...

            @apply(Placed)
            def second(self, event: Any) -> None: ...


@pytest.mark.parametrize("event", [int, Order])
def test_a_method_for_what_is_no_event_is_refused_where_the_class_is_made(event: Any) -> None:
    with pytest.raises(ConfigurationError, match="which is not an event"):

        class Odd(Aggregate):
            @apply(event)  # type: ignore[untyped-decorator]  # the mistake
            def applied(self, event: Any) -> None: ...


def test_a_method_that_does_not_tell_its_event_is_refused_where_the_class_is_made() -> None:
    with pytest.raises(ConfigurationError, match="does not say which event"):

        class Odd(Aggregate):
            @apply
            def applied(self, event) -> None: ...


def test_an_asynchronous_method_is_refused_where_the_class_is_made() -> None:
    with pytest.raises(ConfigurationError, match="is asynchronous"):

        class Odd(Aggregate):
            @apply
            async def applied(self, event: Placed) -> None: ...


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"category": "or-der"}, "category='or-der'"),
        ({"category": ""}, "category=''"),
        ({"schema_version": 0}, "schema_version=0"),
        ({"schema_version": "2"}, "schema_version='2'"),
    ],
)
def test_options_that_mean_nothing_are_refused_where_the_class_is_made(
    options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):

        class Odd(Aggregate, **options):
            pass


def test_an_option_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="keyword arguments"):

        class Odd(Aggregate, schema=2):  # the mistake
            pass


def test_only_one_of_the_snapshot_hooks_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="only one of snapshot and restore: add restore"):

        class Odd(Aggregate):
            def snapshot(self) -> int:
                return 1


def test_streams_are_called_by_category_and_id() -> None:
    class SalesOrder(Aggregate):
        pass

    class Ticket(Aggregate, category="support.ticket"):
        pass

    assert repository(SalesOrder).stream_id("7") == "sales_order-7"
    assert repository(Ticket).stream_id("a-b") == "support.ticket-a-b"


@pytest.mark.parametrize("id", ["", None, 7])
def test_an_id_is_a_text(id: Any) -> None:
    with pytest.raises(ValueError, match="cannot be the id of Order"):
        repository(Order).stream_id(id)


def test_a_class_that_needs_more_than_an_id_is_refused_by_its_repository() -> None:
    @dataclass
    class Needy(Aggregate):
        customer: str

    with pytest.raises(ConfigurationError, match=r"Needy .*cannot be made of its id alone .*customer"):
        repository(Needy)


def test_a_class_that_does_not_keep_its_id_is_refused_by_its_repository() -> None:
    class Forgetful(Aggregate):
        def __init__(self, id: str) -> None:
            pass

    with pytest.raises(ConfigurationError, match=r"does not keep its id: call super\(\).__init__\(id\)"):
        repository(Forgetful)


@pytest.mark.parametrize("cls", [Aggregate, int, "Order", Placed])
def test_what_is_no_aggregate_is_refused_by_a_repository(cls: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not an aggregate"):
        repository(cls)
