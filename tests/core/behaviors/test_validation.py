from __future__ import annotations

import datetime as dt
import enum
import gc
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType

from catga_core import CatgaError, CatgaResult, Command, Success, ValidationProblem, Validator
from catga_core.validation.behavior import ValidationBehavior, has_constraints

SECRET = "hunter2-hunter2"


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Item(msgspec.Struct, frozen=True):
    sku: Annotated[str, Meta(min_length=2, max_length=8, pattern="^[a-z]")]
    quantity: Annotated[int, Meta(ge=1, le=99)]


class Sold(Item, frozen=True):
    """Sent, it would lose its class; here it is still there."""


class Level(enum.IntEnum):
    ONE = 1


class Order(Command[int], frozen=True):
    customer: str
    items: Annotated[list[Item], Meta(min_length=1)]
    note: str | None = None


class Bare(Command[int], frozen=True):
    customer: str
    items: list[int] = []


class Tree(msgspec.Struct, frozen=True):
    name: Annotated[str, Meta(min_length=1)]
    branches: list[Tree] = []


class Forest(Command[int], frozen=True):
    trees: list[Tree]


class Circle(msgspec.Struct, frozen=True, tag=True):
    radius: Annotated[float, Meta(gt=0)]


class Square(msgspec.Struct, frozen=True, tag=True):
    side: Annotated[float, Meta(gt=0)]


class Draw(Command[int], frozen=True):
    shape: Circle | Square


class Line(TypedDict):
    sku: Annotated[str, Meta(min_length=1)]


class Point(NamedTuple):
    x: Annotated[int, Meta(ge=0)]
    y: int


@dataclass
class Place:
    street: Annotated[str, Meta(min_length=1)]


GOOD = Order("c-1", [Item("lamp", 1)])
BAD = Order("c-1", [Item("lamp", 0)])


async def handled(message: Any) -> CatgaResult[Any]:
    return Success("handled")


async def not_reached(message: Any) -> CatgaResult[Any]:
    raise AssertionError("an invalid message was passed on")


def field_of(hint: Any) -> type[msgspec.Struct]:
    return msgspec.defstruct("Message", [("field", hint)], frozen=True)


async def problems_of(
    message: Any, *validators: Validator[Any], cls: type[Any] | None = None
) -> dict[str, str]:
    result = await ValidationBehavior(cls or type(message), validators).handle(message, not_reached)
    assert result.error.code == "VALIDATION_FAILED"
    return {each["field"]: each["message"] for each in result.error.details["errors"]}


async def problem_of(hint: Any, value: Any) -> str:
    return (await problems_of(field_of(hint)(value)))["field"]


async def passes(hint: Any, value: Any) -> bool:
    cls = field_of(hint)
    return (await ValidationBehavior(cls).handle(cls(value), handled)).is_success


# --- what a result looks like ---


async def test_a_good_message_goes_on_and_its_result_comes_back():
    assert await ValidationBehavior(Order).handle(GOOD, handled) == Success("handled")


async def test_every_problem_is_told_with_the_path_of_its_field():
    message = Order(
        customer=None,  # type: ignore[arg-type]
        items=[Item("lamp", 1), Item("x", 100), Item("9lives", 0)],
        note=5,  # type: ignore[arg-type]
    )

    assert await problems_of(message) == {
        "customer": "must be str, is None",
        "items[1].sku": "must have at least 2 characters, has 1",
        "items[1].quantity": "must be at most 99, is 100",
        "items[2].sku": "must match the pattern '^[a-z]'",
        "items[2].quantity": "must be at least 1, is 0",
        "note": "must be str or None, is int",
    }


async def test_the_error_names_the_message_the_number_of_problems_and_the_first():
    one = await ValidationBehavior(Order).handle(BAD, not_reached)
    two = await ValidationBehavior(Order).handle(Order("c-1", [Item("x", 0)]), not_reached)

    assert one.error.message == "Order is not valid, 1 problem: items[0].quantity: must be at least 1, is 0"
    assert two.error.message == (
        "Order is not valid, 2 problems, the first: items[0].sku: must have at least 2 characters, has 1"
    )
    assert not one.error.retryable


async def test_the_details_are_plain_enough_to_travel():
    error = (await ValidationBehavior(Order).handle(BAD, not_reached)).error

    details: Any = msgspec.msgpack.decode(msgspec.msgpack.encode(error.details))
    assert details == {"errors": [{"field": "items[0].quantity", "message": "must be at least 1, is 0"}]}


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, SECRET),
        (Annotated[str, Meta(max_length=3)], SECRET),
        (Annotated[str, Meta(pattern="^[0-9]+$")], SECRET),
        (Literal["a"], SECRET),
        (dict[int, int], {SECRET: 1}),
        (dict[str, int], {SECRET: "1"}),
        (set[int], {SECRET}),
        (Color, SECRET),
        (Annotated[int, Meta(le=5)], 4111_1111_1111_1111),
    ],
)
async def test_no_text_or_long_number_of_the_message_is_quoted(hint: Any, value: Any):
    cls = field_of(hint)
    error = (await ValidationBehavior(cls).handle(cls(value), not_reached)).error

    said = error.message + repr(error.details)
    assert SECRET not in said
    assert "4111" not in said


# --- each type and constraint ---

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 2**80),
        (int, Level.ONE),
        (Item, Sold("lamp", 1)),
        (dt.datetime, NOON.astimezone(dt.timezone(dt.timedelta(seconds=30)))),
        (float, 1),
        (bool, True),
        (None, None),
        (bytes, b"x"),
        (bytearray, bytearray(b"x")),
        (Any, object()),
        (Decimal, Decimal(1)),
        (dt.date, dt.date(2026, 1, 1)),
        (dt.time, dt.time(12)),
        (dt.timedelta, dt.timedelta(1)),
        (uuid.UUID, uuid.UUID(int=1)),
        (Color, Color.RED),
        (Callable[[], int], print),
        (Literal["a", 1] | None, 1),
        (Mapping[str, int], {"a": 1}),
        (frozenset[int], frozenset({1})),
        (tuple[int, ...], (1, 2, 3)),
        (tuple[int, str], (1, "a")),
        (Line, {"sku": "lamp", "more": 1}),
        (Point, Point(0, -1)),
        (Place, Place("Main")),
        (Annotated[dt.datetime, Meta(tz=True)], NOON),
        (Annotated[float, Meta(multiple_of=0.5)], 1.5),
        (Annotated[str, Meta(min_length=3)], "日本語"),
        (Annotated[int, Meta(title="A number")], 1),
        (int | str | None, None),
        (Annotated[int, Meta(ge=0)] | float, -1.5),
    ],
)
async def test_a_value_of_the_type_passes(hint: Any, value: Any):
    assert await passes(hint, value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Annotated[int, Meta(ge=1)], 1),
        (Annotated[int, Meta(le=5)], 5),
        (Annotated[int, Meta(gt=1)], 2),
        (Annotated[int, Meta(lt=5)], 4),
        (Annotated[str, Meta(min_length=2)], "ab"),
        (Annotated[str, Meta(max_length=2)], "ab"),
    ],
)
async def test_a_value_on_the_edge_passes(hint: Any, value: Any):
    assert await passes(hint, value)


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (int, "1", "must be int, is str"),
        (int, True, "must be int, is bool"),
        (int, 1.0, "must be int, is float"),
        (float, True, "must be float, is bool"),
        (float, Decimal(1), "must be float, is Decimal"),
        (bool, 1, "must be bool, is int"),
        (str, b"a", "must be str, is bytes"),
        (bytes, "a", "must be bytes, is str"),
        (Decimal, 1, "must be Decimal, is int"),
        (dt.datetime, "2026-01-01", "must be datetime, is str"),
        (dt.date, NOON, "must be date, is datetime"),
        (uuid.UUID, "0", "must be UUID, is str"),
        (Color, "red", "must be Color, is str"),
        (Item, {"sku": "lamp"}, "must be Item, is dict"),
        (list[int], "12", "must be list, is str"),
        (list[int], {1}, "must be list, is set"),
        (set[int], [1], "must be set, is list"),
        (tuple[int, str], (1,), "must have 2 items, has 1"),
        (tuple[int, ...], [1], "must be tuple, is list"),
        (dict[str, int], [1], "must be dict, is list"),
        (int | str | None, 1.5, "must be int, str or None, is float"),
        (Literal["a", "b"], "c", "must be 'a' or 'b', is another str"),
        (Literal["a", 1], True, "must be 1 or 'a', is bool"),
        (Literal[2, True], 1, "must be True or 2, is another int"),
        (Annotated[int, Meta(gt=0)], 0, "must be more than 0, is 0"),
        (Annotated[Decimal, Meta(gt=0)], Decimal(-1), "must be more than 0, is -1"),
        (Annotated[Decimal, Meta(le=9)] | None, Decimal(10), "must be at most 9, is 10"),
        (list[int], (1, 2), "must be list, is tuple"),
        (Sequence[int], (1, 2), "must be list, is tuple"),
        (Annotated[int, Meta(lt=5)], 5, "must be less than 5, is 5"),
        (Annotated[int, Meta(multiple_of=5)], 7, "must be a multiple of 5, is 7"),
        (Annotated[float, Meta(ge=0)], float("nan"), "must be at least 0, is nan"),
        (Annotated[float, Meta(multiple_of=2)], float("inf"), "must be a multiple of 2, is inf"),
        (Annotated[int, Meta(ge=0)] | float, -1, "must be at least 0, is -1"),
        (Annotated[str, Meta(min_length=1)], "", "must have at least 1 character, has 0"),
        (Annotated[str, Meta(min_length=1)] | None, "", "must have at least 1 character, has 0"),
        (Annotated[bytes, Meta(max_length=2)], b"abc", "must have at most 2 bytes, has 3"),
        (Annotated[list[int], Meta(max_length=1)], [1, 2], "must have at most 1 item, has 2"),
        (Annotated[dict[str, int], Meta(min_length=1)], {}, "must have at least 1 item, has 0"),
        (Annotated[dt.datetime, Meta(tz=True)], NOON.replace(tzinfo=None), "must have a time zone, has none"),
        (Annotated[dt.time, Meta(tz=False)], dt.time(1, tzinfo=dt.UTC), "must have no time zone, has one"),
    ],
)
async def test_a_value_that_breaks_its_type_or_constraint_is_told(hint: Any, value: Any, said: str):
    assert await problem_of(hint, value) == said


@pytest.mark.parametrize(
    ("hint", "value", "path"),
    [
        (list[list[int]], [[1], [1, "x"]], "field[1][1]"),
        (tuple[int, str], (1, 2), "field[1]"),
        (set[int], {"x"}, "field[...]"),
        (dict[str, int], {"a": 1, "b": "x"}, "field.values()[1]"),
        (dict[str, int], {"a": 1, 2: 2}, "field.keys()[1]"),
        (dict[str, Item], {"a": Item("lamp", 0)}, "field.values()[0].quantity"),
        (Line, {"sku": ""}, "field['sku']"),
        (Line, {}, "field['sku']"),
        (Point, Point(-1, 0), "field.x"),
        (list[Place], [Place("")], "field[0].street"),
        (Item | int | None, Item("lamp", 0), "field.quantity"),
    ],
)
async def test_the_path_leads_to_the_part_that_is_wrong(hint: Any, value: Any, path: str):
    assert list(await problems_of(field_of(hint)(value))) == [path]


async def test_a_struct_may_contain_itself():
    message = Forest([Tree("oak", [Tree("bough", [Tree("")])])])

    assert await problems_of(message) == {
        "trees[0].branches[0].branches[0].name": "must have at least 1 character, has 0"
    }


async def test_a_value_nested_without_end_is_a_problem_and_no_crash():
    branches: list[Tree] = []
    tree = Tree("oak", branches)
    branches.append(tree)

    assert await problems_of(Forest([tree])) == {"": "is nested too deep to be checked"}


async def test_of_a_tagged_union_the_one_that_is_there_is_checked():
    assert await problems_of(Draw(Square(0))) == {"shape.side": "must be more than 0, is 0"}
    assert await problems_of(Draw(Item("lamp", 1))) == {  # type: ignore[arg-type]
        "shape": "must be Circle or Square, is Item"
    }


async def test_an_unset_field_passes_where_it_may_be_left_out():
    cls = msgspec.defstruct("Patch", [("name", Annotated[str, Meta(min_length=1)] | UnsetType, UNSET)])

    assert (await ValidationBehavior(cls).handle(cls(), handled)).is_success
    assert await problems_of(cls("")) == {"name": "must have at least 1 character, has 0"}
    assert await problem_of(str, UNSET) == "must be str, is UnsetType"


# --- whether there is anything to check ---


@pytest.mark.parametrize("cls", [Order, Item, Forest, Draw, Line, Point, Place])
def test_a_constraint_is_found_wherever_it_is(cls: type[Any]):
    assert has_constraints(field_of(cls) if not issubclass(cls, msgspec.Struct) else cls)


@pytest.mark.parametrize(
    "hint",
    [
        dict[str, list[Annotated[int, Meta(ge=1)]]],
        dict[Annotated[str, Meta(max_length=3)], int],
        tuple[int, Annotated[str, Meta(pattern="a")]],
        Annotated[dt.datetime, Meta(tz=False)] | None,
        Annotated[int, Meta(ge=0, title="A number")],
        Annotated[set[int], Meta(min_length=0)],
        Annotated[Decimal, Meta(gt=0)],
        dict[str, Annotated[Decimal, Meta(lt=1)] | None],
    ],
)
def test_a_constraint_inside_a_type_is_found(hint: Any):
    assert has_constraints(field_of(hint))


@pytest.mark.parametrize("hint", [int, list[str], Tree | None, Annotated[int, Meta(title="A number")]])
def test_a_class_without_constraints_has_none(hint: Any):
    assert has_constraints(field_of(hint)) is (hint == Tree | None)
    assert not has_constraints(Bare)


# --- validators ---


class NoLamps(Validator[Order]):
    def validate(self, message: Order) -> Iterable[ValidationProblem]:
        for index, item in enumerate(message.items):
            if item.sku == "lamp":
                yield ValidationProblem(f"items[{index}].sku", "is sold out")


class KnownCustomer(Validator[Order]):
    async def validate(self, message: Order) -> list[ValidationProblem]:
        return [] if message.customer == "c-2" else [ValidationProblem("customer", "is not known")]


class Broken(Validator[Any]):
    def validate(self, message: Any) -> list[ValidationProblem]:
        raise OSError("no database")


class Forgetful(Validator[Any]):
    def validate(self, message: Any) -> list[ValidationProblem]:
        return None  # type: ignore[return-value]


class Chatty(Validator[Any]):
    def validate(self, message: Any) -> list[ValidationProblem]:
        return ["it is wrong"]  # type: ignore[list-item]


class Streaming(Validator[Any]):
    async def validate(self, message: Any) -> AsyncIterator[ValidationProblem]:  # type: ignore[override]
        yield ValidationProblem("", "")


class Refusing(Validator[Any]):
    def validate(self, message: Any) -> list[ValidationProblem]:
        raise CatgaError("ask later", code="PERSISTENCE_FAILED")


async def test_problems_of_validators_are_added_to_those_of_the_types_in_order():
    message = Order("c-1", [Item("lamp", 0)])

    assert list((await problems_of(message, NoLamps(), KnownCustomer())).items()) == [
        ("items[0].quantity", "must be at least 1, is 0"),
        ("items[0].sku", "is sold out"),
        ("customer", "is not known"),
    ]


async def test_a_message_no_validator_objects_to_goes_on():
    behavior = ValidationBehavior(Order, [NoLamps(), KnownCustomer()])

    assert (await behavior.handle(Order("c-2", [Item("vase", 1)]), handled)).is_success


async def test_a_problem_of_the_whole_message_has_no_field():
    class Never(Validator[Order]):
        def validate(self, message: Order) -> list[ValidationProblem]:
            return [ValidationProblem("", "is never good")]

    error = (await ValidationBehavior(Order, [Never()]).handle(GOOD, not_reached)).error

    assert error.message == "Order is not valid, 1 problem: is never good"


@pytest.mark.parametrize(
    ("validator", "message"),
    [
        (Broken(), "Broken failed: no database"),
        (Forgetful(), "Forgetful failed: 'NoneType' object is not iterable"),
        (Chatty(), "Chatty failed: validate() must give ValidationProblem objects, gave str"),
        (Streaming(), "Streaming failed: 'async_generator' object is not iterable"),
    ],
)
async def test_a_validator_that_breaks_is_a_failure_that_names_it(validator: Validator[Any], message: str):
    error = (await ValidationBehavior(Order, [validator]).handle(GOOD, not_reached)).error

    assert (error.code, error.message) == ("HANDLER_FAILED", message)
    assert error.__cause__ is not None


async def test_a_catga_error_of_a_validator_keeps_its_code():
    error = (await ValidationBehavior(Order, [Refusing()]).handle(GOOD, not_reached)).error

    assert (error.code, error.retryable) == ("PERSISTENCE_FAILED", True)


async def test_validators_are_not_called_for_a_mistyped_message():
    message = Order("c-1", None)  # type: ignore[arg-type]

    assert await problems_of(message, NoLamps(), KnownCustomer(), Broken()) == {
        "items": "must be list, is None"
    }


async def test_other_validators_share_the_checks():
    checks = ValidationBehavior(Order)
    other = checks.with_validators([KnownCustomer()])

    assert other._check is checks._check
    assert (await checks.handle(GOOD, handled)).is_success
    assert (await other.handle(GOOD, not_reached)).error.code == "VALIDATION_FAILED"


# --- what it costs ---


def test_checking_a_good_message_keeps_nothing_and_makes_no_list():
    check = ValidationBehavior(Order)._check
    assert check is not None
    good = check.good
    message = Order("c-1", [Item("lamp", 1)] * 100, "a note")
    good(message)
    gc.disable()
    tracemalloc.start()
    try:
        good(message)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        good(message)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()

    assert after - before < 100
    assert peak - before < 2_000


def test_the_checks_of_a_class_are_compiled_once():
    assert ValidationBehavior(Order)._check is ValidationBehavior(Order)._check


# --- the same judgement as msgspec's own ---

small = st.integers(-12, 15)
halves = st.integers(-3, 210).map(lambda number: number / 2) | st.floats(-1, 101)
words = st.text("abcd", max_size=5)
items = st.builds(Item, st.text("ab1", min_size=1, max_size=9), st.integers(0, 100))
trees = st.recursive(
    st.builds(Tree, st.text("ab", max_size=3)),
    lambda inner: st.builds(Tree, st.text("ab", max_size=3), st.lists(inner, max_size=2)),
    max_leaves=4,
)
atoms: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | small
    | halves
    | words
    | st.sampled_from([float("nan"), float("inf"), float("-inf")])
)
anything = (
    atoms
    | items
    | trees
    | st.lists(atoms, max_size=3)
    | st.lists(items, max_size=3)
    | st.dictionaries(words, atoms, max_size=3)
    | st.tuples(small, words)
)
PAIR: Any = tuple[Annotated[int, Meta(ge=0)], str]
# A type, and values that are often of it.
SHAPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Annotated[int, Meta(ge=-5, lt=10)], small),
    (Annotated[int, Meta(gt=-5, le=10, multiple_of=3)], small),
    (Annotated[float, Meta(ge=0, le=100)], halves),
    (Annotated[float, Meta(gt=0, lt=100, multiple_of=0.5)], halves),
    (Annotated[str, Meta(min_length=1, max_length=4)], words),
    (Annotated[str, Meta(pattern="[a-c]d?$")], words),
    (Annotated[list[Annotated[int, Meta(ge=-9)]], Meta(max_length=3)], st.lists(small, max_size=5)),
    (
        dict[Annotated[str, Meta(min_length=1)], Annotated[int, Meta(le=12)]],
        st.dictionaries(words, small, max_size=3),
    ),
    (list[Item], st.lists(items, max_size=3)),
    (Item | None, items | st.none()),
    (Tree, trees),
    (PAIR, st.tuples(small, words)),
    (Annotated[int, Meta(ge=0)] | str | None, small | words | st.none()),
    (Annotated[int, Meta(ge=0)] | float, small | halves),
    (Literal["a", "b", 3], st.sampled_from(["a", "b", "c", 3, 4])),
    (
        list[Literal[1, 2]] | dict[str, bool],
        st.lists(st.integers(1, 3)) | st.dictionaries(words, st.booleans()),
    ),
]
cases = st.tuples(st.sampled_from(SHAPES), st.integers(1, 4)).flatmap(
    lambda drawn: st.tuples(st.just(drawn[0][0]), anything if drawn[1] == 1 else drawn[0][1])
)
MESSAGES = {repr(hint): field_of(hint) for hint, _ in SHAPES}


def msgspec_decodes(message: Any) -> bool:
    try:
        msgspec.convert(msgspec.to_builtins(message), type(message))
    except msgspec.ValidationError:
        return False
    return True


@settings(max_examples=400, deadline=None)
@given(cases)
async def test_validation_passes_exactly_what_msgspec_would_decode(case: tuple[Any, Any]):
    hint, value = case
    # Decoding makes a list into a tuple; here it stays a list.
    assume(not (isinstance(value, list) and hint == PAIR))
    message = MESSAGES[repr(hint)](value)

    result = await ValidationBehavior(type(message)).handle(message, handled)

    assert result.is_success == msgspec_decodes(message)
    assert result.is_success or result.error.details["errors"]
