from __future__ import annotations

import pickle
from typing import Any, Generic, TypeVar

import msgspec
import pytest

from catga_core import Command, Event, Query, StreamQuery, message, message_type
from catga_core.messages import MessageKind

T = TypeVar("T")


class Item(msgspec.Struct, frozen=True):
    name: str


class Rename(Command[None]):
    name: str


class FindItem(Query[Item | None]):
    name: str


class ListItems(StreamQuery[Item]):
    prefix: str = ""


class Renamed(Event):
    name: str


class Page(Query[list[T]], Generic[T]):
    number: int = 0


class ItemPage(Page[Item]):
    pass


class Extra(Generic[T]):
    pass


class Plain(Command[int]):
    pass


@pytest.mark.parametrize(
    ("cls", "kind", "result"),
    [
        (Rename, MessageKind.COMMAND, type(None)),
        (FindItem, MessageKind.QUERY, Item | None),
        (ListItems, MessageKind.STREAM, Item),
        (Renamed, MessageKind.EVENT, None),
    ],
)
def test_a_message_knows_its_kind_and_what_it_is_answered_with(cls: Any, kind: MessageKind, result: Any):
    described = message_type(cls)

    assert (described.cls, described.kind, described.result) == (cls, kind, result)


def test_without_a_mark_a_message_is_called_by_its_class_name_in_version_one():
    described = message_type(Rename)

    assert (described.name, described.version, str(described)) == ("Rename", 1, "Rename v1")


def test_the_mark_gives_a_wire_name_and_a_version():
    @message(name="items.rename", version=3)
    class Marked(Command[None]):
        pass

    assert str(message_type(Marked)) == "items.rename v3"


def test_the_version_alone_keeps_the_class_name():
    @message(version=2)
    class Marked(Command[None]):
        pass

    assert str(message_type(Marked)) == "Marked v2"


def test_a_subclass_is_another_message_and_does_not_share_its_parents_wire_name():
    @message(name="items.rename")
    class Parent(Command[None]):
        pass

    class Child(Parent):
        pass

    assert message_type(Child).name == "Child"
    assert message_type(Parent).name == "items.rename"


def test_a_mark_put_on_after_the_first_look_is_seen():
    class Late(Command[None]):
        pass

    before = message_type(Late).name
    message(name="late")(Late)

    assert (before, message_type(Late).name) == ("Late", "late")


@pytest.mark.parametrize("name", ["", ".", "a..b", ".a", "a.", "a b", "größe", "a*", "a>", "a/b"])
def test_a_name_that_cannot_travel_is_refused(name: str):
    class Wrong(Event):
        pass

    with pytest.raises(ValueError, match="cannot be a message's wire name: use ASCII letters"):
        message(name=name)(Wrong)


@pytest.mark.parametrize("name", ["a", "orders.create", "orders_v2", "a-b.c9"])
def test_names_of_words_with_single_dots_are_taken(name: str):
    @message(name=name)
    class Marked(Event):
        pass

    assert message_type(Marked).name == name


@pytest.mark.parametrize("version", [0, -1])
def test_versions_begin_with_one(version: int):
    class Wrong(Event):
        pass

    with pytest.raises(ValueError, match="version must be an int from 1"):
        message(version=version)(Wrong)


@pytest.mark.parametrize("cls", [int, object, msgspec.Struct, Command, Event])
def test_what_is_no_message_is_refused_with_what_to_derive_from(cls: Any):
    with pytest.raises(TypeError, match=r"is not a message: derive it from Command\[R\], Query\[R\]"):
        message_type(cls)


def test_a_message_that_does_not_say_what_it_is_answered_with_is_refused():
    class Bare(Command):  # type: ignore[type-arg]
        pass

    with pytest.raises(TypeError, match=r"Bare does not say .* write class Bare\(Command\[YourResult\]\)"):
        message_type(Bare)


def test_the_result_is_found_through_generic_classes_in_between():
    assert message_type(ItemPage).result == list[Item]


def test_the_result_is_inherited():
    class Child(FindItem):
        pass

    assert message_type(Child).result == Item | None


def test_a_generic_class_beside_the_message_does_not_hide_the_result():
    class Mixed(Extra[str], Plain):
        pass

    assert message_type(Mixed).result is int


def test_the_facts_of_a_class_are_worked_out_once():
    assert message_type(Rename) is message_type(Rename)


def test_messages_are_values():
    assert Rename("a") == Rename("a") != Rename("b")
    with pytest.raises(AttributeError):
        Rename("a").name = "b"  # type: ignore[misc]


def test_messages_survive_pickling():
    assert pickle.loads(pickle.dumps(ListItems("a"))) == ListItems("a")
