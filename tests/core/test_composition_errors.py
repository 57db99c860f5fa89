from __future__ import annotations

import functools
import re
import types
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NewType, Protocol, TypedDict

import pytest

from catga_core import (
    Behavior,
    CatgaContainer,
    CatgaMediator,
    CatgaOptions,
    Command,
    ConfigurationError,
    Event,
    EventHandler,
    Lifetime,
    MessageContext,
    Module,
    Query,
    RequestHandler,
    StreamHandler,
    StreamQuery,
    Transport,
    Validator,
    add_catga,
    add_module,
    message,
)
from catga_core.event_sourcing import add_aggregate
from catga_core.event_sourcing.projections import Projection, add_projection

if TYPE_CHECKING:
    from decimal import Decimal

HERE = Path(__file__).name


class Place(Command[int]):
    pass


class Placed(Event):
    pass


class Find(Query[list[str]]):
    pass


class Count(StreamQuery[int]):
    pass


class Gateway(Protocol):
    def charge(self, cents: int) -> None: ...

    def refund(self, cents: int) -> None: ...


class Store(ABC):
    @abstractmethod
    def save(self) -> None: ...


class Session:
    pass


class Repository:
    def __init__(self, session: Session) -> None: ...


class Service:
    def __init__(self, repository: Repository) -> None: ...


class Chicken:
    def __init__(self, egg: Egg) -> None: ...


class Egg:
    def __init__(self, nest: Nest) -> None: ...


class Nest:
    def __init__(self, chicken: Chicken) -> None: ...


class Settings:
    def __init__(self, url: str) -> None: ...


class PlaceHandler(RequestHandler[Place, int]):
    async def handle(self, message: Place) -> int:
        return 1


class OtherPlaceHandler(RequestHandler[Place, int]):
    async def handle(self, message: Place) -> int:
        return 2


def in_this_module(namespace: dict[str, Any]) -> None:
    namespace["__module__"] = __name__


def mistakes_of(catga: CatgaContainer) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as raised:
        catga.validate()
    return raised.value.problems


def mistake_of(catga: CatgaContainer) -> str:
    [problem] = mistakes_of(catga)
    return problem


def place(text: str) -> str:
    """The text with every line number taken out."""
    return re.sub(re.escape(HERE) + r":\d+", "HERE", text)


# --- missing ---


def test_a_missing_service_is_named_with_who_needs_it_where_and_how_to_register_it():
    catga = add_catga()
    catga.add_singleton(Repository)

    assert re.search(
        r"Repository needs Session \(parameter 'session', HERE\).*add_singleton\(Session",
        place(mistake_of(catga)),
    )


def test_a_missing_service_of_a_handler_is_found_before_the_first_message():
    class Needs(RequestHandler[Place, int]):
        def __init__(self, repository: Repository) -> None: ...

        async def handle(self, message: Place) -> int:
            return 1

    catga = add_catga()
    catga.add_handlers(Needs)

    assert re.search("Needs needs Repository .* not registered", mistake_of(catga))


def test_a_missing_service_of_a_function_is_found_as_well():
    async def handle_place(message: Place, repository: Repository) -> int:
        return 1

    catga = add_catga()
    catga.add_handlers(handle_place)

    assert re.search("handle_place needs Repository .* not registered", mistake_of(catga))


async def test_a_wrong_composition_is_refused_at_the_start_before_anything_is_made():
    made: list[str] = []

    class Noticed:
        def __init__(self) -> None:
            made.append("made")

    catga = add_catga()
    catga.add_singleton(Noticed)
    catga.add_singleton(Repository)

    with pytest.raises(ConfigurationError, match=r"Repository needs Session"):
        async with catga.running():
            pass
    assert made == []


@pytest.mark.parametrize("annotation", [str, int, dict, list[str], dict[str, int]])
def test_a_plain_value_is_no_service_and_the_error_says_what_to_do(annotation: Any):
    class Needs:
        def __init__(self, value) -> None: ...

    Needs.__init__.__annotations__["value"] = annotation
    catga = add_catga()
    catga.add_singleton(Needs)

    text = mistake_of(catga)

    assert "(parameter 'value'" in text
    assert "settings class" in text
    assert "factory" in text


def test_a_plain_string_is_named_as_such():
    catga = add_catga()
    catga.add_singleton(Settings)

    assert re.search(
        r"Settings needs str \(parameter 'url', HERE\).* register Settings", place(mistake_of(catga))
    )


def test_what_has_a_default_need_not_be_there():
    class Relaxed:
        def __init__(self, session: Session | None = None, limit: int = 3) -> None: ...

    catga = add_catga()
    catga.add_singleton(Relaxed)

    catga.validate()


# --- cycles ---


def test_a_cycle_is_drawn():
    catga = add_catga()
    catga.add_singleton(Chicken)
    catga.add_singleton(Egg)
    catga.add_singleton(Nest)

    assert re.search("Chicken -> Egg -> Nest -> Chicken", mistake_of(catga))


def test_one_cycle_is_one_mistake_whoever_leads_into_it():
    class Farm:
        def __init__(self, egg: Egg, nest: Nest) -> None: ...

    catga = add_catga()
    catga.add_transient(Farm)
    catga.add_singleton(Nest)
    catga.add_singleton(Egg)
    catga.add_singleton(Chicken)

    assert mistake_of(catga).startswith("Chicken needs itself: Chicken -> Egg -> Nest -> Chicken")


def test_a_service_that_needs_itself_is_a_cycle():
    class Mirror:
        def __init__(self, mirror: Mirror) -> None: ...

    catga = add_catga()
    catga.add_singleton(Mirror)

    assert mistake_of(catga).startswith("Mirror needs itself: Mirror -> Mirror")


# --- lifetimes ---


def test_a_singleton_that_holds_a_scoped_service_is_told_what_would_happen():
    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_singleton(Repository)

    assert re.search(
        r"Repository.*Session.*message's.*Session.*add_scoped\(Repository.*Session", mistake_of(catga)
    )


def test_a_scoped_service_is_found_through_a_transient_one():
    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_transient(Repository)
    catga.add_singleton(Service)

    assert mistake_of(catga).startswith(
        "Service is a singleton and depends on Session, which is scoped through Repository"
    )


def test_a_singleton_cannot_hold_a_messages_context():
    class Keeps:
        def __init__(self, context: MessageContext) -> None: ...

    catga = add_catga()
    catga.add_singleton(Keeps)

    assert mistake_of(catga).startswith("Keeps is a singleton and depends on MessageContext, which is scoped")


def test_a_handler_asked_to_be_a_singleton_cannot_hold_a_scoped_service():
    class Holds(RequestHandler[Place, int]):
        def __init__(self, session: Session) -> None: ...

        async def handle(self, message: Place) -> int:
            return 1

    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_handlers(Holds, lifetime=Lifetime.SINGLETON)

    assert mistake_of(catga).startswith("Holds is a singleton and depends on Session, which is scoped")


def test_an_async_factory_cannot_be_transient():
    async def connect() -> Session:
        return Session()

    with pytest.raises(ConfigurationError) as raised:
        add_catga().add_transient(Session, connect)

    assert re.search(r"Session.*add_scoped\(Session.*add_singleton", str(raised.value))


def test_a_factory_that_cleans_up_cannot_be_transient():
    def connect() -> Iterator[Session]:
        yield Session()

    with pytest.raises(ConfigurationError, match=r"Session is transient with a generator.*would"):
        add_catga().add_transient(Session, connect)


def test_an_object_cannot_be_scoped():
    session: Any = Session()

    with pytest.raises(ConfigurationError) as raised:
        add_catga().add_scoped(Session, session)

    assert re.search(r"Session.*add_singleton\(Session", str(raised.value))


def test_a_function_has_no_lifetime():
    async def handle_place(message: Place) -> int:
        return 1

    with pytest.raises(ConfigurationError, match=r"handle_place .* is a function.* lifetime="):
        add_catga().add_handlers(handle_place, lifetime=Lifetime.SCOPED)


# --- what does not fit ---


def test_an_abstract_class_cannot_be_made():
    with pytest.raises(ConfigurationError) as raised:
        add_catga().add_singleton(Store)

    assert re.search(r"Store cannot be.*save.*as the second argument", str(raised.value))


def test_an_abstract_implementation_cannot_be_made():
    class Half(Store):
        @abstractmethod
        def load(self) -> None: ...

    with pytest.raises(ConfigurationError, match=r"Half cannot be instantiated: load, save"):
        add_catga().add_singleton(Store, Half)


def test_a_protocol_cannot_be_made():
    with pytest.raises(ConfigurationError, match=r"Gateway.*Protocol"):
        add_catga().add_singleton(Gateway)


def test_an_abstract_handler_cannot_be_made():
    class Half(RequestHandler[Place, int]):
        @abstractmethod
        def price(self) -> int: ...

        async def handle(self, message: Place) -> int:
            return self.price()

    with pytest.raises(ConfigurationError, match=r"Half.*price"):
        add_catga().add_handlers(Half)


def test_what_does_not_derive_from_its_service_is_refused():
    unrelated: Any = Session

    with pytest.raises(ConfigurationError) as raised:
        add_catga().add_singleton(Store, unrelated)

    assert re.search(r"Session.*Store.*not a subclass", str(raised.value))


def test_an_object_that_is_no_such_service_is_refused():
    unrelated: Any = Session()

    with pytest.raises(ConfigurationError, match=r"Session.*Store.*not a subclass"):
        add_catga().add_singleton(Store, unrelated)


def test_a_factory_that_says_it_gives_something_else_is_refused():
    def make() -> Any: ...

    make.__annotations__["return"] = Session

    with pytest.raises(ConfigurationError, match=r"Session.*Store.*not a subclass"):
        add_catga().add_singleton(Store, make)


async def test_a_factory_that_says_it_gives_anything_is_believed():
    def anything() -> Any:
        return Session()

    catga = add_catga()
    catga.add_singleton(Session, anything)

    async with catga.running() as app:
        assert isinstance(app.get(Session), Session)


def test_an_async_yielding_factory_is_judged_by_what_it_yields():
    async def make() -> AsyncIterator[Any]:
        yield Session()

    make.__annotations__["return"] = AsyncIterator[Session]

    with pytest.raises(ConfigurationError, match=r"Session.*Store.*not a subclass"):
        add_catga().add_scoped(Store, make)


def test_what_lacks_members_of_its_protocol_is_refused_with_their_names():
    class Half:
        def charge(self, cents: int) -> None: ...

    half: Any = Half

    with pytest.raises(ConfigurationError) as raised:
        add_catga().add_singleton(Gateway, half)

    assert re.search(r"Half is registered as Gateway.* refund", str(raised.value))


def test_a_service_is_registered_by_a_class():
    name: Any = "store"

    with pytest.raises(ConfigurationError, match=r"'store' is not a class.*class"):
        add_catga().add_singleton(name)


def test_what_cannot_be_started_and_stopped_cannot_be_hosted_and_is_not_registered():
    catga = add_catga()

    with pytest.raises(ConfigurationError, match=r"Session.*hosted.*async def"):
        catga.add_hosted(Session)
    with pytest.raises(ConfigurationError, match=r"Session is not registered"):
        catga.get(Session)


# --- annotations ---


def test_an_annotation_that_cannot_be_resolved_is_named():
    class Prices:
        def __init__(self, rate: Decimal) -> None: ...

    with pytest.raises(ConfigurationError) as raised:
        add_catga().add_singleton(Prices)

    assert re.search(r"Prices.*'Decimal'.*TYPE_CHECKING", str(raised.value))


def test_a_parameter_without_an_annotation_is_named():
    class Prices:
        def __init__(self, rate) -> None: ...

    with pytest.raises(ConfigurationError) as raised:
        add_catga().add_singleton(Prices)

    assert re.search(r"Prices.*'rate'", str(raised.value))


def test_a_parameter_that_could_be_several_things_is_refused():
    class Prices:
        def __init__(self, rate: Session | Store) -> None: ...

    with pytest.raises(
        ConfigurationError,
        match=r"Prices.*'rate'.*Session.*Store",
    ):
        add_catga().add_singleton(Prices)


def test_a_parameter_that_can_only_be_given_by_position_is_refused():
    class Prices:
        def __init__(self, session: Session, /) -> None: ...

    with pytest.raises(ConfigurationError, match=r"Prices.*'session'.*'/'"):
        add_catga().add_singleton(Prices)


def test_a_handlers_annotation_that_cannot_be_resolved_is_named():
    async def handle_place(message: Decimal) -> int:
        return 1

    with pytest.raises(ConfigurationError, match=r"cannot be resolved .*'Decimal' is not defined"):
        add_catga().add_handlers(handle_place)


def test_a_handler_that_does_not_say_what_it_handles_is_refused():
    async def handle_place(message) -> int:
        return 1

    with pytest.raises(ConfigurationError) as raised:
        add_catga().add_handlers(handle_place)

    assert place(str(raised.value)) == (
        "handle_place (HERE) does not say what it handles: annotate 'message' with the message's class, "
        "or derive from RequestHandler[Message, Result]"
    )


# --- handlers ---


def test_two_handlers_of_one_request_are_both_named_with_their_places():
    catga = add_catga()
    catga.add_handlers(PlaceHandler)

    with pytest.raises(ConfigurationError) as raised:
        catga.add_handlers(OtherPlaceHandler)

    assert re.search(r"Place.*PlaceHandler.*\(HERE\).*OtherPlaceHandler.*\(HERE\)", place(str(raised.value)))


def test_a_handler_registered_twice_is_named():
    catga = add_catga()
    catga.add_handlers(PlaceHandler)

    with pytest.raises(ConfigurationError) as raised:
        catga.add_handlers(PlaceHandler)

    assert re.search(r"PlaceHandler.*\(HERE\).*Place", place(str(raised.value)))


def test_an_event_handler_registered_twice_is_named():
    async def on_placed(message: Placed) -> None: ...

    catga = add_catga()
    catga.add_handlers(on_placed)

    with pytest.raises(ConfigurationError, match=r"on_placed.*registered"):
        catga.add_handlers(on_placed)


def test_a_result_that_does_not_fit_names_both_with_their_places_and_both_mends():
    class Wrong(RequestHandler[Place, int]):
        async def handle(self, message: Place) -> str:  # type: ignore[override]
            return ""

    with pytest.raises(ConfigurationError) as raised:
        add_catga().add_handlers(Wrong)

    assert place(str(raised.value)) == (
        "Wrong (HERE) answers with str, but Place (HERE) is a Command[int]: "
        "return int, or declare class Place(Command[str])"
    )
    assert len(re.findall(re.escape(HERE) + r":\d+", str(raised.value))) == 2


def test_a_result_that_does_not_fit_is_found_in_the_base_as_well():
    class Wrong(RequestHandler[Place, str]):
        async def handle(self, message: Place) -> str:
            return ""

    with pytest.raises(ConfigurationError, match=r"answers with str, but Place \(.*\) is a Command\[int\]"):
        add_catga().add_handlers(Wrong)


Name = NewType("Name", str)


class Row(TypedDict):
    name: str


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (str, Name),
        (str, Literal["a", "b"]),
        (float, int),
        (Row, Row),
        (Row, dict),
        (Gateway, Session),
        (int, bool),
        (int | None, int),
        (int | None, None),
        (object, Session),
        (Any, Session),
        (int, Any),
        (list[int], list[int]),
        (list[int], list),
        (tuple[int, ...], tuple[int, int]),
    ],
)
def test_a_result_that_a_type_checker_takes_is_taken(expected: Any, found: Any):
    ask = types.new_class("Ask", (Command[expected],), exec_body=in_this_module)

    async def answer(message: Any) -> Any: ...

    answer.__annotations__.update(message=ask, **{"return": found})

    add_catga().add_handlers(answer)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (int, str),
        (int, float),
        (int, None),
        (int, int | None),
        (list[int], list[str]),
        (list[int], int),
        (str, Literal[1]),
        (int, Name),
    ],
)
def test_a_result_that_a_type_checker_refuses_is_refused(expected: Any, found: Any):
    ask = types.new_class("Ask", (Command[expected],), exec_body=in_this_module)

    async def answer(message: Any) -> Any: ...

    answer.__annotations__.update(message=ask, **{"return": found})

    with pytest.raises(ConfigurationError, match=r"answer .*answers with .*, but Ask"):
        add_catga().add_handlers(answer)


def test_the_items_of_a_stream_have_to_fit_too():
    async def count(message: Count) -> AsyncIterator[str]:
        yield ""

    with pytest.raises(
        ConfigurationError, match=r"count .*answers with str, but Count .* is a StreamQuery\[int\]"
    ):
        add_catga().add_handlers(count)


def test_a_handler_declared_for_one_message_that_takes_another_is_refused():
    class Wrong(RequestHandler[Place, int]):
        async def handle(self, message: Find) -> int:  # type: ignore[override]
            return 1

    with pytest.raises(
        ConfigurationError, match=r"Wrong .*is declared for Place, but its handle takes Find: write"
    ):
        add_catga().add_handlers(Wrong)


def test_a_handler_of_another_kind_is_told_what_to_derive_from():
    class Wrong(EventHandler[Place]):  # type: ignore[type-var]
        async def handle(self, message: Place) -> None: ...

    with pytest.raises(
        ConfigurationError, match=r"derives from EventHandler, but Place .*is a command: derive from Req"
    ):
        add_catga().add_handlers(Wrong)


def test_a_handler_that_is_not_asynchronous_is_refused():
    def handle_place(message: Place) -> int:
        return 1

    with pytest.raises(ConfigurationError, match=r"handle_place .*is not asynchronous: write async def"):
        add_catga().add_handlers(handle_place)


@pytest.mark.parametrize("thing", [3, "handler", object()])
def test_what_is_no_handler_is_refused(thing: Any):
    with pytest.raises(ConfigurationError, match=r"is not a handler: give a class with a handle method"):
        add_catga().add_handlers(thing)


def test_a_list_of_handlers_is_told_to_be_unpacked():
    async def place(message: Place) -> int:
        return 1

    with pytest.raises(ConfigurationError, match=r"is not a handler: .*add_handlers\(\*handlers\)"):
        add_catga().add_handlers([place])  # type: ignore[arg-type]


def test_a_url_in_place_of_the_options_is_told_where_it_belongs():
    with pytest.raises(ConfigurationError, match=r"takes CatgaOptions, not a str: .*transport="):
        add_catga("nats://localhost:4222")  # type: ignore[arg-type]


def test_a_module_that_registers_nothing_is_refused():
    class Empty(Module):
        pass

    with pytest.raises(ConfigurationError, match=r"Empty .*def register"):
        add_catga().add_module(Empty)


def test_a_class_without_handle_is_told_what_to_derive_from():
    with pytest.raises(
        ConfigurationError, match=r"Session .*has no handle method: derive it from RequestHandler"
    ):
        add_catga().add_handlers(Session)


def test_a_handler_that_leaves_handle_open_is_refused():
    class Open(StreamHandler[Count, int]):
        pass

    with pytest.raises(ConfigurationError, match=r"Open .*does not implement handle: write async def handle"):
        add_catga().add_handlers(Open)


class TakesMore(RequestHandler[Place, int]):
    async def handle(self, message: Place, extra: str) -> int:  # type: ignore[override]  # what is refused
        return 1


class TakesMoreByName(RequestHandler[Place, int]):
    async def handle(self, message: Place, *, extra: Any) -> int:  # type: ignore[override]  # what is refused
        return 1


class TakesUnannotated(EventHandler[Placed]):
    async def handle(self, message: Placed, extra) -> None:  # type: ignore[override]  # what is refused
        pass


class TakesItsMessageByName(RequestHandler[Place, int]):
    async def handle(self, *, message: Place) -> int:  # type: ignore[override]  # what is refused
        return 1


async def takes_its_message_by_name(*, message: Place) -> int:
    return 1


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (TakesMore, "handle(self, message): missing a required argument: 'extra'"),
        (TakesMoreByName, "missing a required"),
        (TakesUnannotated, "missing a required argument: 'extra'"),
        (TakesItsMessageByName, "handle(self, message): too many positional arguments"),
        (takes_its_message_by_name, "takes_its_message_by_name(message): too many positional arguments"),
    ],
)
def test_handler_with_a_parameter_that_is_never_passed_is_refused(handler: Any, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        add_catga().add_handlers(handler)

    assert text in str(refused.value)
    assert f"{handler.__name__} (test_composition_errors.py:" in str(refused.value)


class AroundWithoutNext(Behavior[Any, Any]):
    async def handle(self, message: Any) -> Any:  # type: ignore[override]  # what is refused
        return 1


class AroundMore(Behavior[Any, Any]):
    async def handle(self, message: Any, next: Any, extra: Any) -> Any:  # type: ignore[override]  # what is refused
        return 1


class RuleWithMore(Validator[Place]):
    def validate(self, message: Place, extra: Any) -> Any:  # type: ignore[override]  # what is refused
        return []


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (AroundWithoutNext, "handle(self, message, next): too many positional arguments"),
        (AroundMore, "handle(self, message, next): missing a required argument: 'extra'"),
        (RuleWithMore, "validate(self, message): missing a required argument: 'extra'"),
    ],
)
def test_behavior_or_validator_that_cannot_be_called_is_refused(thing: Any, text: str) -> None:
    catga = add_catga()
    add: Any = catga.add_validator if issubclass(thing, Validator) else catga.add_behavior
    with pytest.raises(ConfigurationError) as refused:
        add(thing)

    assert text in str(refused.value)
    assert f"{thing.__name__} (test_composition_errors.py:" in str(refused.value)


async def test_handler_whose_decorator_passes_the_rest_is_accepted() -> None:
    def with_extra(function: Any) -> Any:
        @functools.wraps(function)
        async def call(self: Any, message: Any) -> Any:
            return await function(self, message, 5)

        return call

    class Decorated(RequestHandler[Place, int]):
        @with_extra
        async def handle(self, message: Place, extra: int) -> int:
            return extra

    class Defaulted(EventHandler[Placed]):
        async def handle(self, message: Placed, extra: int = 3, *rest: int, **named: int) -> None:
            pass

    catga = add_catga()
    catga.add_handlers(Decorated, Defaulted)
    async with catga.running() as app:
        assert (await app.mediator.send(Place())).unwrap() == 5


def test_handler_base_that_does_not_fit_its_message_names_both_places() -> None:
    class Wrong(RequestHandler[Placed, int]):  # type: ignore[type-var]  # what is refused
        async def handle(self, message: Placed) -> int:
            return 1

    with pytest.raises(ConfigurationError) as refused:
        add_catga().add_handlers(Wrong)

    assert re.search(
        r"Wrong \(test_composition_errors.py:\d+\) derives from RequestHandler, but "
        r"Placed \(test_composition_errors.py:\d+\) is an event",
        str(refused.value),
    )


def test_what_is_not_an_aggregate_or_projection_is_named_with_its_place() -> None:
    class Plain:
        pass

    class Idle(Projection):
        async def on(self, event: Placed) -> None:
            pass

    things: list[tuple[Callable[[CatgaContainer], object], str]] = [
        (lambda catga: add_aggregate(catga, Plain), "Plain (test_composition_errors.py:"),  # type: ignore[type-var]  # what is refused
        (lambda catga: add_projection(catga, Plain), "Plain (test_composition_errors.py:"),  # type: ignore[arg-type]  # what is refused
        (lambda catga: add_projection(catga, Idle), "the projection 'Idle' (test_composition_errors.py:"),
    ]
    for compose, text in things:
        with pytest.raises(ConfigurationError) as refused:
            compose(add_catga())
        assert text in str(refused.value)


def test_a_handler_without_a_message_is_refused():
    async def nothing() -> int:
        return 1

    with pytest.raises(
        ConfigurationError, match=r"nothing .*takes no message: its first parameter is the message"
    ):
        add_catga().add_handlers(nothing)


def test_what_is_no_behavior_is_refused():
    thing: Any = Session

    with pytest.raises(ConfigurationError, match=r"Session.*behavior.*it from"):
        add_catga().add_behavior(thing)


# --- messages ---


def test_two_messages_of_one_wire_name_are_both_named():
    @message(name="place")
    class One(Command[int]):
        pass

    @message(name="place")
    class Two(Event):
        pass

    async def one(message: One) -> int:
        return 1

    async def two(message: Two) -> None: ...

    catga = add_catga()
    catga.add_handlers(one, two)

    text = place(mistake_of(catga))

    assert text.startswith(f"Two message classes are named place v1: {__name__}.")
    assert ".One (HERE) and " in text
    assert ".Two (HERE). Give one of them another name or version with @message(" in text


def test_two_versions_of_one_name_are_no_mistake():
    @message(name="place", version=1)
    class One(Command[int]):
        pass

    @message(name="place", version=2)
    class Two(Command[int]):
        pass

    async def one(message: One) -> int:
        return 1

    async def two(message: Two) -> int:
        return 1

    catga = add_catga()
    catga.add_handlers(one, two)

    catga.validate()


# --- modules ---


class Orders(Module):
    def register(self, catga: CatgaContainer) -> None: ...


class Payments(Module):
    needs = (Orders, Store)

    def register(self, catga: CatgaContainer) -> None: ...


def test_a_module_that_was_not_added_is_named_with_who_needs_it():
    catga = add_catga()
    add_module(catga, Payments)

    orders, store = mistakes_of(catga)
    assert re.search(r"Payments needs Orders.*add_module\(catga, Orders\)", orders)
    assert re.search(r"Payments needs Store.*add_singleton\(Store, \.\.\.\)", store)


def test_modules_that_need_each_other_are_drawn():
    class A(Module):
        def register(self, catga: CatgaContainer) -> None: ...

    class B(Module):
        needs = (A,)

        def register(self, catga: CatgaContainer) -> None: ...

    A.needs = (B,)
    catga = add_catga()
    add_module(catga, A)
    add_module(catga, B())

    assert re.search("A -> B -> A", mistake_of(catga))


def test_a_module_added_twice_is_named():
    catga = add_catga()
    add_module(catga, Orders)

    with pytest.raises(ConfigurationError, match=r"Orders.*added"):
        add_module(catga, Orders())


def test_what_is_no_module_is_refused_before_it_is_made():
    class Loans:
        def __init__(self, session: Session) -> None: ...

    thing: Any = Loans

    with pytest.raises(ConfigurationError, match=r"Loans .* not a module"):
        add_module(add_catga(), thing)


def test_a_module_that_needs_something_to_be_made_is_added_as_an_object():
    class Loans(Module):
        def __init__(self, table: str, limit: int = 3) -> None: ...

        def register(self, catga: CatgaContainer) -> None: ...

    catga = add_catga()

    with pytest.raises(
        ConfigurationError,
        match=r"Loans.*add_module\(Loans\(\.\.\.\)\)",
    ):
        add_module(catga, Loans)
    add_module(catga, Loans("loans"))


def test_a_captive_service_is_named_and_where_its_factory_is():
    async def open_session() -> AsyncIterator[Session]:
        yield Session()

    def make_holder(session: Session) -> Holder:
        return Holder()

    class Holder:
        pass

    catga = add_catga()
    catga.add_scoped(Session, open_session)
    catga.add_singleton(Holder, make_holder)

    assert re.search(
        r"Holder.*\(make_holder.*HERE\).*Session.*\(open_session.*HERE\).*message's.*Session",
        place(mistake_of(catga)),
    )


def test_what_a_factory_misses_is_told_by_its_services_name():
    class Missing:
        pass

    def open_session(missing: Missing) -> Session:
        return Session()

    catga = add_catga()
    catga.add_scoped(Session, open_session)

    assert re.match(
        rf"Session needs Missing \(parameter 'missing', {re.escape(HERE)}:\d+\), .*add_singleton\(Missing, ",
        mistake_of(catga),
    )


def test_what_is_no_module_is_refused():
    thing: Any = Session

    with pytest.raises(ConfigurationError, match=r"Session .* not a module"):
        add_module(add_catga(), thing)


def test_a_module_whose_needs_are_met_is_no_mistake():
    class Stores(Store):
        def save(self) -> None: ...

    catga = add_catga()
    add_module(catga, Payments)
    add_module(catga, Orders)
    catga.add_singleton(Store, Stores)

    catga.validate()


# --- the rest ---


def test_an_unknown_override_is_refused():
    with pytest.raises(ConfigurationError) as raised:
        add_catga().override(Session, Session())

    assert re.search(r"Session cannot be overridden.*it first", str(raised.value))


def test_unknown_provider_name_is_refused_with_the_known_names():
    catga = add_catga()
    with pytest.raises(ConfigurationError) as raised:
        catga.override("no_such_part", Session())

    known = sorted(catga.providers)
    assert {"mediator", "outbox", "event_store", "transport"} <= set(known)
    assert "'no_such_part'" in str(raised.value)
    assert ", ".join(known) in str(raised.value)


async def test_nothing_can_be_added_while_the_container_runs():
    catga = add_catga()
    thing: Any = Session
    async with catga.running():
        for add, what in (
            (lambda: catga.add_singleton(Session), "services"),
            (lambda: catga.add_handlers(PlaceHandler), "handlers"),
            (lambda: catga.add_behavior(thing), "behaviors"),
            (lambda: catga.add_validator(thing), "validators"),
            (lambda: catga.add_module(Orders), "modules"),
        ):
            with pytest.raises(ConfigurationError) as raised:
                add()
            assert re.search(
                rf"container is running; {what} .* running\(\).* override\(\)", str(raised.value)
            )


@pytest.mark.parametrize("own", [CatgaMediator, CatgaOptions])
def test_the_containers_own_parts_cannot_be_registered(own: Any):
    with pytest.raises(ConfigurationError, match="registered by the container"):
        add_catga().add_singleton(own)


def test_a_taken_provider_name_is_refused():
    with pytest.raises(ConfigurationError, match=r"'mediator'.*Session.*name="):
        add_catga().add_singleton(Session, name="mediator")


def test_asking_for_what_nothing_provides_says_how_to_register_it():
    with pytest.raises(ConfigurationError, match=r"Session.*add_singleton\(Session"):
        add_catga().get(Session)


def test_asking_for_a_scoped_service_outside_of_a_message_says_why_there_is_none():
    catga = add_catga()
    catga.add_scoped(Session)

    with pytest.raises(LookupError, match=r"Session is scoped"):
        catga.get(Session)


def test_asking_the_application_for_an_unknown_name_lists_those_there_are():
    from catga_core.container import CatgaApp

    with pytest.raises(
        AttributeError,
        match=r"'event_shop'.* clock, ",
    ):
        _ = CatgaApp(add_catga()).event_shop


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"max_concurrent_requests": 0},
            "max_concurrent_requests must be .* got 0",
        ),
        ({"timeout_seconds": 0}, "timeout_seconds must be .* got 0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds must be .* got nan"),
        ({"start_timeout_seconds": float("inf")}, "start_timeout_seconds must be .* got inf"),
        ({"shutdown_timeout_seconds": -1.0}, "shutdown_timeout_seconds must be .* got -1.0"),
        (
            {"service_name": "my app"},
            "service_name must .* got 'my app'",
        ),
        ({"service_name": ""}, "service_name must .* got ''"),
        ({"plugins": "otel"}, "plugins must be .* got 'otel'"),
        ({"timeout_seconds": "5"}, "timeout_seconds has the wrong type; got '5'"),
    ],
)
def test_an_option_that_cannot_work_is_named_with_what_can(options: dict[str, Any], text: str):
    with pytest.raises(ConfigurationError) as raised:
        add_catga(CatgaOptions(**options))

    assert re.match(text, str(raised.value))


def test_no_time_at_all_is_a_shutdown_timeout():
    add_catga(CatgaOptions(shutdown_timeout_seconds=0))


def test_several_mistakes_are_all_listed_at_once():
    class Keeps:
        def __init__(self, session: Session, store: Store) -> None: ...

    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_singleton(Keeps)
    catga.add_singleton(Settings)
    add_module(catga, Payments)

    with pytest.raises(ConfigurationError) as raised:
        catga.validate()

    lines = str(raised.value).splitlines()
    assert lines[0] == "5 configuration errors:"
    assert [line.split(",")[0].split(" (")[0].strip() for line in lines[1:]] == [
        "1. Keeps needs Store",
        "2. Settings needs str",
        "3. Keeps is a singleton and depends on Session",
        "4. Payments needs Orders",
        "5. Payments needs Store",
    ]


def test_several_wrong_options_are_all_listed_at_once():
    with pytest.raises(ConfigurationError) as raised:
        add_catga(CatgaOptions(service_name="", max_concurrent_requests=0, timeout_seconds=-1))

    assert len(raised.value.problems) == 3


async def test_running_twice_at_once_is_refused():
    catga = add_catga()
    async with catga.running():
        with pytest.raises(ConfigurationError, match="container is already running"):
            async with catga.running():
                pass


def test_a_missing_transport_is_named_when_it_is_asked_for():
    with pytest.raises(ConfigurationError, match="Transport is not registered"):
        add_catga().get(Transport)
