"""Values in a journal."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from catga_core.sagas import values
from catga_core.sagas.values import decode_value, encode_value


def made_again() -> Any:
    class Item(msgspec.Struct):
        name: str

    return Item


@pytest.mark.parametrize("shape", [list, tuple, lambda items: {"a": items[0]}], ids=["list", "tuple", "dict"])
def test_a_container_has_the_class_that_its_path_has_now(shape: Any) -> None:
    first, second = made_again(), made_again()
    encode_value(shape([first("a")]))
    given = shape([second("b")])

    assert decode_value(encode_value(given)) == given


def test_tuples_of_ever_other_lengths_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_MOST_TYPES", 5)
    for length in range(1, 20):
        given = (1,) * length
        assert decode_value(encode_value(given)) == given

    assert len(values._types) <= 5
