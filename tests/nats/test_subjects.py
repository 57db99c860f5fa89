"""Names that NATS would take amiss are refused before anything is sent under them."""

from __future__ import annotations

import pytest

from catga_core.errors import ConfigurationError, SerializationError
from catga_nats import NatsOptions
from catga_nats.subjects import Subjects, check_service_name

LONG = "x" * 5000


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "a.*",
        "a.>",
        "a..b",
        ".a",
        "a.",
        "",
        "a\r\nPUB x 0",
        "a\x00",
        "a\x85b",
        "a\u2028b",
        "a\ud800",
        LONG,
    ],
)
def test_name_that_cannot_be_in_a_subject_is_refused(name: str) -> None:
    with pytest.raises(SerializationError) as caught:
        Subjects("catga", "request")[name]

    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("name", ["Ask", "orders.create-2", "Größe", "注文"])
def test_name_with_other_letters_is_a_subject(name: str) -> None:
    assert Subjects("catga", "event")[name] == f"catga.event.{name}".encode()


@pytest.mark.parametrize("name", ["a b", "*", "a.>", "a\n", "größe", LONG, ""])
def test_service_name_that_cannot_be_a_queue_group_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="service_name"):
        check_service_name(name)


@pytest.mark.parametrize("prefix", ["a b", "*", "a.>", "a\n", "größe", LONG, ""])
def test_prefix_that_cannot_begin_a_subject_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="subject_prefix"):
        NatsOptions(subject_prefix=prefix)
