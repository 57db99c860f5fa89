"""The options of Redis, written as one URL."""

from __future__ import annotations

import re

import pytest

from catga_core import ConfigurationError
from catga_redis import RedisOptions


def test_every_sort_of_option_can_stand_in_the_url() -> None:
    url = "redis://ann:secret@127.0.0.1:6390/2?prefix=orders&wait_aof=true&command_timeout_seconds=2.5&batch_size=7"

    options = RedisOptions.from_url(url)

    assert (options.prefix, options.wait_aof, options.command_timeout_seconds, options.batch_size) == (
        "orders", True, 2.5, 7,
    )  # fmt: skip
    assert "secret" not in repr(options)


def test_url_option_without_its_unit_is_read() -> None:
    options = RedisOptions.from_url("redis://h?command_timeout=2.5&recover_timeout=9")

    assert (options.command_timeout_seconds, options.recover_timeout_seconds) == (2.5, 9)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "redis://h?wait_aof=maybe",
            "sets wait_aof='maybe', which is not a truth value: write one, such as wait_aof=true",
        ),
        (
            "redis://h?batch_size=many",
            "sets batch_size='many', which is not a whole number: write one, such as batch_size=10",
        ),
        ("redis://h?colour=red", "sets 'colour', which is not an option: use one of batch_size, "),
        ("redis://h?prefx=shop", "sets 'prefx', which is not an option: did you mean 'prefix'?"),
        ("redis://u:p@h?batch_size=many", "sets batch_size=***, which is not a whole number"),
        ("redis://h:port", "names the host 'h' with a port that cannot be reached"),
    ],
)
def test_what_cannot_be_read_is_named(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        RedisOptions.from_url(url)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"redis://u:{SECRET}",
        f"redis://u:{SECRET}h:6379",
        f"redis://:{SECRET}h x",
        f"redis://h:6379&password={SECRET}",
        f"redis://h/x&password={SECRET}",
        f"redis://h?passwd={SECRET}&password=p",
        f"redis://h#{SECRET}",
        f"redis+sentinel://h/x&password={SECRET}",
        f"redis+sentinel://h/x?password={SECRET}",
        f"redis://u:{SECRET}@h:port",
        f"redis://u:{SECRET}@h/first",
    ],
)
def test_error_about_a_url_repeats_no_part_that_may_be_a_password(url: str) -> None:
    for read in (RedisOptions, RedisOptions.from_url):
        try:
            options = read(url)
        except ConfigurationError as error:
            assert SECRET not in str(error)  # noqa: PT017 - some of these are fine for one of the two
        else:
            assert SECRET not in repr(options)


def test_no_view_of_the_options_shows_a_password() -> None:
    options = RedisOptions.from_url(f"redis+sentinel://u:{SECRET}@h/service?sentinel_password={SECRET}")

    views = [repr(options), str(options), repr(options.address), repr(list(options.address.__rich_repr__()))]
    assert not [view for view in views if SECRET in view]


@pytest.mark.parametrize("prefix", ["", "a b", "a{b}", "a}b", "a\n", "a*", "ä", "a\x00"])
def test_prefix_that_redis_takes_amiss_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match=r"prefix=.* Set a prefix of letters, digits"):
        RedisOptions(prefix=prefix)
