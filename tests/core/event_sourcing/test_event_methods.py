from __future__ import annotations

import functools
from typing import Any

import pytest

from catga_core import ConfigurationError, Event
from catga_core.event_sourcing.methods import ByEvent, EventMethod, by_event, event_methods, marked
from catga_core.interfaces import StoredEvent


def on(method: Any) -> Any:
    return marked(method, "on")


class Base:
    methods: list[EventMethod]
    table: ByEvent[EventMethod]

    def __init_subclass__(cls) -> None:
        cls.methods = event_methods(cls, "on", stored=True, asynchronous=True)
        cls.table = by_event(cls, "on", cls.methods)


class Opened(Event):
    id: str


class Deposited(Event):
    amount: int


class BigDeposit(Deposited):
    pass


class Closed(Event):
    pass


def name_for(table: ByEvent[EventMethod], event: Event) -> str | None:
    found = table[type(event)]
    return None if found is None else found.name


def test_a_method_is_found_by_the_class_of_its_event() -> None:
    class Account(Base):
        @on
        def opened(self, event: Opened) -> None: ...

        @on
        async def changed(self, event: Deposited | Closed, stored: StoredEvent) -> None: ...

        def helper(self, event: BigDeposit) -> None: ...

    assert name_for(Account.table, Opened("1")) == "opened"
    assert name_for(Account.table, Closed()) == "changed"
    assert name_for(Account.table, BigDeposit(3)) == "changed"
    assert [(each.takes_stored, each.is_async) for each in Account.methods] == [(False, False), (True, True)]


def test_nothing_is_found_for_an_event_of_another_class() -> None:
    class Account(Base):
        @on
        def opened(self, event: Opened) -> None: ...

    assert Account.table[Closed] is None
    assert Account.table[Closed] is None


def test_the_nearest_base_wins_and_event_stands_for_all() -> None:
    class Account(Base):
        @on
        def any(self, event: Event) -> None: ...

        @on
        def deposited(self, event: Deposited) -> None: ...

    assert name_for(Account.table, BigDeposit(1)) == "deposited"
    assert name_for(Account.table, Closed()) == "any"


def test_a_subclass_inherits_and_replaces_methods_by_name() -> None:
    class Account(Base):
        @on
        def opened(self, event: Opened) -> None: ...

        @on
        def closed(self, event: Closed) -> None: ...

    class Special(Account):
        @on
        def opened(self, event: Opened | Deposited) -> None: ...

    assert {each.name for each in Special.methods} == {"opened", "closed"}
    assert Special.table[Deposited] is Special.table[Opened]
    assert Special.table[Opened] is not Account.table[Opened]


def test_a_decorator_below_the_mark_keeps_the_annotations() -> None:
    def traced(function: Any) -> Any:
        @functools.wraps(function)
        def run(*arguments: Any) -> Any:
            return function(*arguments)

        return run

    class Account(Base):
        @on
        @traced
        def opened(self, event: Opened) -> None: ...

    assert Account.table[Opened] is not None


def test_a_method_without_an_event_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"Account\.opened \(.*\) takes no event: write def opened\(self"
    ):

        class Account(Base):
            @on
            def opened(self) -> None: ...


def test_a_method_that_does_not_say_its_event_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not say which event it is for: annotate 'event'"):

        class Account(Base):
            @on
            def opened(self, event) -> None: ...


def test_a_method_for_something_that_is_no_event_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is for int, which is not an event: derive it from Event"):

        class Account(Base):
            @on
            def opened(self, event: Opened | int) -> None: ...


def test_an_annotation_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be resolved .*Missing"):

        class Account(Base):
            @on
            def opened(self, event: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the mistake


def test_two_methods_for_one_event_are_refused_also_across_bases() -> None:
    class Account(Base):
        @on
        def opened(self, event: Opened) -> None: ...

    with pytest.raises(
        ConfigurationError, match="two methods with @on for Opened, opened and begun: keep one"
    ):

        class Special(Account):
            @on
            def begun(self, event: Opened) -> None: ...


def test_a_method_that_replaces_a_marked_one_has_to_be_marked() -> None:
    class Account(Base):
        @on
        def opened(self, event: Opened) -> None: ...

    with pytest.raises(ConfigurationError, match="replaces a method with @on: give it @on too"):

        class Special(Account):
            def opened(self, event: Opened) -> None: ...


def test_a_parameter_nobody_gives_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="takes 'mediator', which is not provided"):

        class Account(Base):
            @on
            def opened(self, event: Opened, mediator: object) -> None: ...


def test_what_may_not_wait_is_refused_when_it_is_asynchronous() -> None:
    class Plain:
        @on
        async def opened(self, event: Opened) -> None: ...

    with pytest.raises(
        ConfigurationError, match="is asynchronous, and @on is for what only changes the object"
    ):
        event_methods(Plain, "on", stored=False, asynchronous=False)


def test_what_is_no_method_cannot_be_marked() -> None:
    with pytest.raises(ConfigurationError, match="@on is for methods, not for a classmethod"):

        class Account(Base):
            @on
            @classmethod
            def opened(cls, event: Opened) -> None: ...
