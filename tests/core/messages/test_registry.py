"""The message registry: which class a wire name and version stand for."""

from __future__ import annotations

import gc
import sys
import types
from typing import Any, Generic, TypeVar, cast

import msgspec
import pytest

from catga_core import CatgaError, Command, ConfigurationError, ErrorCode, Event, Query, StreamQuery, message
from catga_core.errors import AmbiguousMessageError, UnknownMessageError
from catga_core.messages import Message
from catga_core.messages.catalog import MessageCatalog
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serialization import json_serializer, msgpack_serializer
from catga_core.messages.upcasting import upcaster

T = TypeVar("T")

EMPTY = msgspec.msgpack.encode({})


@message(name="registry.placed", version=2)
class Placed(Event):
    order_id: str


class RegistryOpen(Command[int]):
    pass


class RegistryCount(Query[int]):
    pass


class RegistryList(StreamQuery[str]):
    pass


class RegistryBase(Command[T], Generic[T]):
    """A base that leaves its result open is not a message."""


class RegistryFact(Event, Generic[T]):
    value: T


class RegistryTopic(Event):
    """A base that nothing is made of."""


class RegistryNews(RegistryTopic):
    pass


def defined(name: str, version: int = 1) -> type[Event]:
    @message(name=name, version=version)
    class Local(Event):
        pass

    return Local


def found(registry: MessageRegistry, name: str, version: int = 1) -> type[Message] | None:
    described = registry.find(name, version)
    return None if described is None else described.cls


# --- every imported class ---


@pytest.mark.parametrize(
    "cls", [RegistryOpen, RegistryCount, RegistryList, RegistryFact, RegistryTopic, RegistryNews]
)
def test_imported_class_is_found_by_name(cls: type[Message]) -> None:
    assert found(MessageRegistry(), cls.__name__) is cls


def test_class_is_found_by_wire_name_and_version_only() -> None:
    registry = MessageRegistry()
    assert found(registry, "registry.placed", 2) is Placed
    assert found(registry, "registry.placed", 1) is None
    assert found(registry, "Placed", 2) is None


@pytest.mark.parametrize(
    "name", ["Event", "Command", "Query", "Request", "StreamQuery", "Message", "RegistryBase"]
)
def test_bases_are_not_found(name: str) -> None:
    described = MessageRegistry().find(name, 1)
    assert described is None or described.cls.__module__ != "catga_core.messages.types"
    assert described is None or described.cls is not RegistryBase


def test_class_defined_later_is_found() -> None:
    registry = MessageRegistry()
    assert found(registry, "registry.later") is None
    later = defined("registry.later")
    assert found(registry, "registry.later") is later


def test_class_renamed_by_a_decorator_is_found_by_its_new_name_only() -> None:
    registry = MessageRegistry()

    class RegistryRenamed(Event):
        pass

    assert found(registry, "RegistryRenamed") is RegistryRenamed
    message(name="registry.renamed", version=3)(RegistryRenamed)
    assert found(registry, "registry.renamed", 3) is RegistryRenamed
    assert found(registry, "RegistryRenamed") is None


def test_garbage_collected_class_is_not_found() -> None:
    registry = MessageRegistry()
    made = defined("registry.gone")
    del made
    gc.collect()
    assert found(registry, "registry.gone") is None


def test_base_restricts_the_search() -> None:
    @message(name="registry.shared")
    class AsCommand(Command[int]):
        pass

    as_event = defined("registry.shared")
    registry = MessageRegistry()
    described = registry.find("registry.shared", 1, Event)
    assert described is not None
    assert described.cls is as_event
    described = registry.find("registry.shared", 1, Command)
    assert described is not None
    assert described.cls is AsCommand


def test_known_name_is_not_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = MessageRegistry()
    registry.find("registry.placed", 2)

    def unexpected(*_: object) -> None:
        pytest.fail("it was looked up again")

    monkeypatch.setattr(MessageRegistry, "_look_up", unexpected)
    assert found(registry, "registry.placed", 2) is Placed


# --- two classes with one name ---


def test_ambiguous_name_is_an_error_that_names_both_where_it_is_used() -> None:
    first, second = defined("registry.twice"), defined("registry.twice")
    registry = MessageRegistry()
    with pytest.raises(AmbiguousMessageError) as caught:
        registry.find("registry.twice", 1)
    assert caught.value.code == ErrorCode.SERIALIZATION_FAILED
    assert caught.value.retryable
    assert [each.cls for each in registry.candidates("registry.twice", 1)] == [first, second]
    place = r"test_registry\.defined\.<locals>\.Local \(test_registry\.py:\d+\)"
    assert caught.match(rf"Two message classes are named registry\.twice v1: \S*{place} and \S*{place}")
    with pytest.raises(AmbiguousMessageError):
        registry.decode("registry.twice", 1, "msgpack", EMPTY, msgpack_serializer(), Event)


def test_class_that_nothing_uses_does_not_make_a_name_ambiguous() -> None:
    gc.disable()
    try:
        defined("registry.haunted")
        left = defined("registry.haunted")
        assert found(MessageRegistry(), "registry.haunted") is left
    finally:
        gc.enable()


def test_class_remade_by_a_decorator_is_one_class() -> None:
    def remade(cls: type[Any]) -> type[Any]:
        kept = {"__module__", "__qualname__", "__annotations__", "__catga_name__"}
        facts = {name: value for name, value in cls.__dict__.items() if name in kept}
        metaclass: Any = type(cls)
        return cast("type[Any]", metaclass(cls.__name__, cls.__bases__, facts))

    @message(name="registry.remade")
    @remade
    class Remade(Event):
        pass

    @remade
    @message(name="registry.remade-last")
    class RemadeLast(Event):
        pass

    registry = MessageRegistry()
    assert found(registry, "registry.remade") is Remade
    assert found(registry, "registry.remade-last") is RemadeLast


def test_class_of_a_reloaded_module_replaces_its_predecessor() -> None:
    module = types.ModuleType("registry_reloaded")
    sys.modules[module.__name__] = module
    source = "from catga_core import Event\nclass RegistryReloaded(Event):\n    pass\n"
    try:
        exec(source, module.__dict__)
        before = module.__dict__["RegistryReloaded"]
        exec(source, module.__dict__)
        after = module.__dict__["RegistryReloaded"]
        assert found(MessageRegistry(), "RegistryReloaded") is after
        assert before is not after
    finally:
        del sys.modules[module.__name__]


def test_registered_class_wins_over_an_imported_one() -> None:
    first, second = defined("registry.chosen"), defined("registry.chosen")
    registry = MessageRegistry()
    registry.register(second)
    assert found(registry, "registry.chosen") is second
    with pytest.raises(ConfigurationError, match=r"Two message classes are named registry\.chosen v1"):
        registry.register(first)


def test_handled_class_wins_over_an_imported_one() -> None:
    first, second = defined("registry.handled"), defined("registry.handled")
    registry = MessageRegistry()
    registry.prefer(lambda: [first])
    assert found(registry, "registry.handled") is first
    with pytest.raises(CatgaError, match=r"Two message classes are named registry\.handled v1"):
        registry.use(second)


def test_stored_class_wins_over_an_imported_one() -> None:
    first, second = defined("registry.stored"), defined("registry.stored")
    registry = MessageRegistry()
    with pytest.raises(AmbiguousMessageError):
        registry.find("registry.stored", 1)
    assert registry.use(first) == ("registry.stored", 1)
    assert found(registry, "registry.stored") is first
    with pytest.raises(CatgaError, match=r"Two message classes are named registry\.stored v1") as caught:
        registry.use(second)
    assert caught.value.code == ErrorCode.SERIALIZATION_FAILED
    with pytest.raises(ConfigurationError):
        registry.register(second)


def test_handled_class_that_shares_a_registered_name_is_found_at_the_check() -> None:
    first, second = defined("registry.both"), defined("registry.both")
    registry = MessageRegistry()
    registry.register(first)
    registry.prefer(lambda: [second])
    with pytest.raises(ConfigurationError, match=r"Two message classes are named registry\.both v1"):
        registry.check()


@pytest.mark.parametrize("cls", [int, Event, Command, RegistryBase, "registry.placed"])
def test_anything_but_a_message_class_is_refused(cls: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be registered as a message class"):
        MessageRegistry().register(cls)


# --- a closed set ---


def test_closed_registry_knows_registered_handled_and_stored_classes_only() -> None:
    catalog = MessageCatalog()
    catalog.classes.append(Placed)
    catalog.closed = True
    registry = MessageRegistry(catalog)
    registry.prefer(lambda: [RegistryNews])
    assert found(registry, "registry.placed", 2) is Placed
    assert found(registry, "RegistryNews") is RegistryNews
    assert found(registry, "RegistryTopic") is None
    registry.use(RegistryTopic)
    assert found(registry, "RegistryTopic") is RegistryTopic


def test_closed_registry_error_says_how_to_register() -> None:
    catalog = MessageCatalog()
    catalog.closed = True
    with pytest.raises(UnknownMessageError, match=r"register it with add_events\(\.\.\.\)"):
        MessageRegistry(catalog).decode("registry.placed", 2, "msgpack", EMPTY, msgpack_serializer(), Event)


# --- decoding and upcasting ---


@upcaster("registry.placed", from_version=1)
def with_order_id(data: dict[str, Any]) -> dict[str, Any]:
    return {"order_id": data["id"]}


def test_message_is_decoded_with_its_type() -> None:
    data = msgspec.json.encode({"order_id": "o-1"})
    described, event = MessageRegistry().decode("registry.placed", 2, "json", data, json_serializer(), Event)
    assert (described.cls, event) == (Placed, Placed("o-1"))


def test_old_message_is_upcast_to_the_newest_version() -> None:
    registry = MessageRegistry()
    registry.add_upcasters(with_order_id)
    data = msgspec.msgpack.encode({"id": "o-1"})
    described, event = registry.decode("registry.placed", 1, "msgpack", data, msgpack_serializer(), Event)
    assert (described.name, described.version, event) == ("registry.placed", 2, Placed("o-1"))
    end, newest = registry.newest("registry.placed", 1)
    assert (end, newest) == (("registry.placed", 2), described)


def test_commands_are_upcast_as_well() -> None:
    @message(name="registry.command", version=2)
    class Rename(Command[int]):
        new: str

    @upcaster("registry.command", from_version=1)
    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        return {"new": data["to"]}

    registry = MessageRegistry()
    registry.add_upcasters(renamed)
    data = msgspec.msgpack.encode({"to": "x"})
    assert registry.decode("registry.command", 1, "msgpack", data, msgpack_serializer(), Command)[
        1
    ] == Rename("x")


def test_unknown_message_is_retryable_because_another_process_may_know_it() -> None:
    with pytest.raises(
        UnknownMessageError, match=r"no class named registry\.never v1 is known: import"
    ) as caught:
        MessageRegistry().decode("registry.never", 1, "msgpack", EMPTY, msgpack_serializer(), Event)
    assert caught.value.retryable
    assert caught.value.code == ErrorCode.SERIALIZATION_FAILED
    assert caught.value.details == {"name": "registry.never", "version": 1}


def test_bytes_of_an_unknown_serializer_are_refused() -> None:
    with pytest.raises(CatgaError, match=r"stored as pickle, and this process reads msgpack\. Keep"):
        MessageRegistry().decode("registry.placed", 2, "pickle", b"{}", msgpack_serializer(), Event)


def test_bytes_of_the_other_built_in_serializer_are_read() -> None:
    registry = MessageRegistry()
    events = {
        registry.decode(
            "registry.placed", 2, each.name, each.encode(Placed("o-1")), msgpack_serializer(), Event
        )[1]
        for each in (json_serializer(), msgpack_serializer())
    }

    assert events == {Placed("o-1")}


def test_newest_of_an_unknown_message_has_no_type() -> None:
    registry = MessageRegistry()
    assert registry.newest("registry.never", 4) == (("registry.never", 4), None)


def test_versions_of_a_name_are_listed_ascending() -> None:
    classes = [defined("registry.versions", each) for each in (3, 1)]
    assert MessageRegistry().versions("registry.versions") == [1, 3]
    assert len(classes) == 2


def test_revision_changes_with_classes_registrations_and_upcasters() -> None:
    registry = MessageRegistry()
    revisions = [registry.revision]
    cls = defined("registry.revision")
    revisions.append(registry.revision)
    registry.register(cls)
    revisions.append(registry.revision)
    registry.add_upcasters(with_order_id)
    revisions.append(registry.revision)
    assert len(set(revisions)) == len(revisions)
