"""A URL is shown without what may be a password, wherever that stands."""

from __future__ import annotations

import pprint

import pytest

from catga_core import CatgaOptions, ConfigurationError, add_catga
from catga_core.url_options import shown_url

SECRET = "hunter2SECRET"  # what must not be shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://a:4222,b:4222", "nats://a:4222,b:4222"),
        ("sqlite:///var/lib/app.db", "sqlite:///var/lib/app.db"),
        ("sqlite:///C:/app.db", "sqlite:///C:/app.db"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("redis", "redis"),
        (f"redis://u:{SECRET}@h:6379/0", "redis://***@h:6379/0"),
        (f"nats://h:4222?token={SECRET}", "nats://h:4222?***"),
        (f"nats://h:4222&token={SECRET}", "nats://h:4222?***"),
        (f"redis://u:a?{SECRET}@h", "redis://***@h"),
        (f"redis://u:{SECRET}h:6379", "redis://***"),
        (f"sqlite:///u:{SECRET}[::1", "sqlite:///***"),
        (f"sqlite:///u:{SECRET}h x", "sqlite:///***"),
        (f"redis:/u:{SECRET}", "***"),
        (f"{SECRET} x", "***"),
    ],
)
def test_url_is_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == repr(shown)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://u:{SECRET}@h:6379/0",
        f"nats://h?nkeys_seed={SECRET}",
        f"redis+sentinel://h/m?password={SECRET}",
    ],
)
def test_options_are_shown_without_secrets(url: str) -> None:
    options = CatgaOptions(store=url, transport=url)

    for shown in (repr(options), f"{options}", pprint.pformat(options), repr(list(options.__rich_repr__()))):
        assert SECRET not in shown
        assert "service_name" in shown


@pytest.mark.parametrize("given", [b"redis://:hunter2SECRET@h", ["redis://:hunter2SECRET@h"]])
def test_url_of_a_wrong_type_is_not_shown(given: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        add_catga(CatgaOptions(store=given))  # type: ignore[arg-type]

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", [f"sqlite:///?credentials={SECRET}", f"sqlite://u:{SECRET}@h/app.db"])
def test_error_of_a_sqlite_url_without_a_file_shows_no_secret(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        add_catga(CatgaOptions(store=url))

    assert SECRET not in str(caught.value)
