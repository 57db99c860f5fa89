from __future__ import annotations

import asyncio
import importlib
import re
import sys
import textwrap
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from catga_core import CatgaOptions, Command, ConfigurationError, Serializer, Success, Transport, add_catga
from catga_core.memory import LocalTransport
from catga_core.plugins import PLUGIN_API

Install = Callable[..., None]

CODE = f"""
    from catga_core import plugin
    from catga_core.interfaces import Serializer, Transport
    from catga_core.memory import LocalTransport, local_bus

    calls = []

    class Marker:
        pass

    @plugin(api={PLUGIN_API})
    def add_part(container, given):
        calls.append(given)
        container.add_singleton(Marker, Marker())

    @plugin(api={PLUGIN_API})
    def add_pigeon(container, url):
        calls.append(url)
        container.add_singleton(Transport, lambda: LocalTransport(local_bus(url)))

    @plugin(api={PLUGIN_API + 1})
    def add_newer(container, given):
        raise AssertionError("it must not be called")

    def add_unmarked(container, given):
        raise AssertionError("it must not be called")

    NOT_A_FUNCTION = 3
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install a distribution as pip does: its modules and its metadata in a folder on the path."""
    made: list[str] = []

    def install(
        entry_points: str, *, name: str = "pigeon-catga", version: str = "1.2.3", code: str = CODE
    ) -> None:
        module = name.replace("-", "_")
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{module}.py").write_text(textwrap.dedent(code))
        info = folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))
        monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        made.append(module)

    yield install
    for module in made:
        sys.modules.pop(module, None)


def calls(module: str = "pigeon_catga") -> list[str]:
    found: list[str] = sys.modules[module].calls
    return found


def test_a_transports_name_is_the_urls_scheme_and_it_is_given_the_url(install: Install):
    install("[catga.transports]\npigeon = pigeon_catga:add_pigeon\n")

    catga = add_catga(CatgaOptions(transport="pigeon://roof:1/a?b=c"))

    assert calls() == ["pigeon://roof:1/a?b=c"]
    assert isinstance(catga.get(Transport), LocalTransport)


def test_a_store_is_given_its_url(install: Install):
    install("[catga.stores]\nloft = pigeon_catga:add_part\n")

    add_catga(CatgaOptions(store="loft://a"))

    assert calls() == ["loft://a"]


def test_further_plugins_are_given_their_names_in_the_order_they_are_asked_for(install: Install):
    install("[catga.behaviors]\naudit = pigeon_catga:add_part\nmetrics = pigeon_catga:add_part\n")

    add_catga(CatgaOptions(plugins=["metrics", "audit"]))

    assert calls() == ["metrics", "audit"]


def test_a_feature_is_a_plugin(install: Install):
    install(
        "[catga.features]\naudit = pigeon_catga:add_part\n[catga.behaviors]\nmetrics = pigeon_catga:add_part\n"
    )

    add_catga(CatgaOptions(plugins=["audit", "metrics"]))

    assert calls() == ["audit", "metrics"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("audt", "Did you mean 'audit'?"),
        ("Audit", "CatgaOptions(plugins=['audit'])"),
        ("loft", "CatgaOptions(store='loft://...')"),
        ("otel", "catga-otel is planned"),
    ],
)
def test_an_unknown_plugin_is_told_with_what_may_be_meant(install: Install, name: str, told: str):
    install("[catga.features]\naudit = pigeon_catga:add_part\n[catga.stores]\nloft = pigeon_catga:add_part\n")

    assert told in mistake(plugins=[name])


def test_a_serializer_is_given_its_name(install: Install):
    install("[catga.serializers]\nmorse = pigeon_catga:add_part\n")

    add_catga(CatgaOptions(serializer="morse"))

    assert calls() == ["morse"]


def test_the_serializers_of_the_core_are_plugins_as_well():
    assert add_catga(CatgaOptions(serializer="json")).get(Serializer).name == "json"
    assert add_catga(CatgaOptions(serializer="msgpack")).get(Serializer).name == "msgpack"


def test_the_memory_transport_connects_the_containers_that_name_the_same_bus():
    class Ask(Command[str]):
        pass

    async def answer(message: Ask) -> str:
        return "from the other container"

    asking, answering, elsewhere = (
        add_catga(CatgaOptions(transport=f"memory://{bus}")) for bus in ("plugins", "plugins", "other")
    )
    answering.add_handlers(answer)

    async def run() -> None:
        async with asking.running() as app, answering.running(), elsewhere.running() as lonely:
            assert await app.mediator.send(Ask()) == Success("from the other container")
            assert (await lonely.mediator.send(Ask())).error.code == "HANDLER_NOT_FOUND"

    asyncio.run(run())


def test_options_from_the_environment_load_plugins(install: Install):
    install(
        "[catga.transports]\npigeon = pigeon_catga:add_pigeon\n[catga.behaviors]\naudit = pigeon_catga:add_part\n"
    )

    add_catga(CatgaOptions.from_env({"CATGA_TRANSPORT": "pigeon://roof", "CATGA_PLUGINS": "audit"}))

    assert calls() == ["pigeon://roof", "audit"]


def test_what_is_not_asked_for_is_not_imported(install: Install):
    install("[catga.transports]\npigeon = pigeon_catga:add_pigeon\n", code="raise RuntimeError('imported')")

    add_catga()


# --- what goes wrong ---


def mistake(**options: Any) -> str:
    with pytest.raises(ConfigurationError) as raised:
        add_catga(CatgaOptions(**options))
    return str(raised.value)


def test_an_unknown_scheme_lists_what_is_installed(install: Install):
    install("[catga.transports]\npigeon = pigeon_catga:add_pigeon\n")

    text = mistake(transport="smoke://hill")

    assert text.startswith("No plugin of catga.transports is named 'smoke'")
    assert "memory" in text
    assert "pigeon" in text
    assert "install the distribution that provides 'smoke'" in text


@pytest.mark.parametrize(("scheme", "extra"), [("redis", "redis"), ("rediss", "redis"), ("sqlite", "sqlite")])
def test_a_scheme_of_catgas_own_members_says_what_to_install(
    scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [])

    assert re.search(rf"'{scheme}'.*catga\[{extra}\]", mistake(store=f"{scheme}://localhost"))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("app.db", "sqlite:///app.db"),
        ("sqlite:app.db", "sqlite:///app.db"),
        ("SQLite:app.db", "sqlite:///app.db"),
        ("sqlite:/var/lib/app.db", "sqlite:////var/lib/app.db"),
        ("/var/lib/app.db", "sqlite:////var/lib/app.db"),
        ("file:app.db", "sqlite:///app.db"),
        ("sqlite", "sqlite:///app.db"),
        ("sqlite//app.db", "sqlite:///app.db"),
        ("sqlite/app.db", "sqlite:///sqlite/app.db"),
        ("memory", "memory://"),
        (":memory:", "memory://"),
        ("redis:localhost:6379", "redis://localhost:6379"),
        ("redis:/localhost", "redis://localhost"),
        ("redis:6379", "redis://localhost:6379"),
        ("valkey:6379", "redis://localhost:6379"),
    ],
)
def test_store_that_is_not_a_url_is_answered_with_the_url(given: str, meant: str):
    with pytest.raises(ConfigurationError) as raised:
        add_catga(CatgaOptions(store=given))

    [problem] = raised.value.problems
    assert repr(given) in problem
    assert f"{meant!r}." in problem


def test_password_of_a_store_that_is_not_a_url_is_hidden():
    assert "secret" not in mistake(store="redis:secret@localhost")


@pytest.mark.parametrize(
    ("option", "url", "near"),
    [
        ("store", "sqllite:///app.db", "sqlite"),
        ("store", "SQLITE:///app.db", "sqlite"),
        ("store", "rdeis://localhost", "redis"),
        ("transport", "nat://localhost", "nats"),
        ("transport", "memmory://", "memory"),
        ("serializer", "jsno", "json"),
    ],
)
def test_misspelt_plugin_is_answered_with_the_near_one(option: str, url: str, near: str):
    assert f"Did you mean {near!r}?" in mistake(**{option: url})


@pytest.mark.parametrize(
    ("option", "scheme", "plugin"),
    [
        ("store", "valkey", "redis"),
        ("store", "Valkeys", "rediss"),
        ("store", "redis+tls", "rediss"),
        ("store", "redis+unix", "redis"),
        ("store", "redis-cluster", "redis+cluster"),
        ("store", "sqlite+aiosqlite", "sqlite"),
        ("store", "SQLite3", "sqlite"),
        ("store", "InMemory", "memory"),
        ("transport", "NATS+TLS", "tls"),
        ("transport", "jetstream", "nats"),
    ],
)
def test_scheme_of_another_library_is_answered_with_the_plugin(option: str, scheme: str, plugin: str):
    fix = f"{plugin}://..."

    assert f"Write CatgaOptions({option}={fix!r})." in mistake(**{option: f"{scheme}://localhost"})


@pytest.mark.parametrize(("scheme", "plugin"), [("valkey", "redis"), ("sqlite+aiosqlite", "sqlite")])
def test_scheme_of_another_library_as_a_transport_is_answered_with_the_store(scheme: str, plugin: str):
    fix = f"{plugin}://..."

    assert f"Write CatgaOptions(store={fix!r})." in mistake(transport=f"{scheme}://localhost")


@pytest.mark.parametrize("scheme", ["redis+cluster", "valkey", "rediss+sentinel"])
def test_spelling_of_a_store_without_its_distribution_names_its_extra(
    scheme: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [])

    assert 'Run pip install "catga[redis]".' in mistake(store=f"{scheme}://localhost")


@pytest.mark.parametrize(
    ("option", "url", "distribution"),
    [
        ("store", "postgresql://localhost/app", "catga-postgres"),
        ("store", "postgres://localhost/app", "catga-postgres"),
        ("store", "postgresql+asyncpg://localhost/app", "catga-postgres"),
        ("store", "PSQL://localhost/app", "catga-postgres"),
        ("transport", "amqp://localhost", "catga-rabbitmq"),
        ("transport", "AMQPS://localhost", "catga-rabbitmq"),
        ("transport", "pyamqp://localhost", "catga-rabbitmq"),
        ("transport", "kafka://localhost", "catga-kafka"),
        ("transport", "redpanda://localhost", "catga-kafka"),
    ],
)
def test_planned_plugin_names_its_distribution(option: str, url: str, distribution: str):
    text = mistake(**{option: url})

    assert f"{distribution} is planned for a later version" in text
    assert "pip install" not in text


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ({"store": "nats://localhost"}, "transport='nats://...'"),
        ({"transport": "redis://localhost"}, "store='redis://...'"),
        ({"plugins": ["sqlite"]}, "store='sqlite://...'"),
    ],
)
def test_plugin_of_another_kind_is_answered_with_its_option(options: dict[str, Any], fix: str):
    assert f"CatgaOptions({fix})" in mistake(**options)


@pytest.mark.parametrize("url", ["localhost:4222", "", "://x"])
def test_what_is_no_url_is_refused(url: str):
    assert re.search(r"URL.*transport='scheme://\.\.\.'.*'nats://localhost:4222'", mistake(transport=url))


def test_a_broken_import_names_the_distribution_and_the_cause(install: Install):
    install("[catga.transports]\npigeon = pigeon_catga:add_pigeon\n", code="import a_driver_nobody_has")

    assert re.search(r"'pigeon'.*No.*'a_driver_nobody_has'", mistake(transport="pigeon://"))


def test_a_name_that_is_not_in_the_module_is_a_broken_import(install: Install):
    install("[catga.transports]\npigeon = pigeon_catga:add_dove\n")

    assert "cannot be imported: module 'pigeon_catga' has no attribute 'add_dove'" in mistake(
        transport="pigeon://"
    )


def test_what_is_no_function_is_refused(install: Install):
    install("[catga.transports]\npigeon = pigeon_catga:NOT_A_FUNCTION\n")

    assert re.search(
        r"plugin 'pigeon' of catga\.transports is.*function.*its entry point", mistake(transport="pigeon://")
    )


def test_a_plugin_of_another_contract_names_both_versions(install: Install):
    install("[catga.transports]\npigeon = pigeon_catga:add_newer\n")

    assert re.search(r"'pigeon'.*1\.2\.3\).*2.*1", mistake(transport="pigeon://"))


def test_a_plugin_that_does_not_say_its_contract_is_told_how(install: Install):
    install("[catga.transports]\npigeon = pigeon_catga:add_unmarked\n")

    assert re.search(r"'pigeon'.*1\.2\.3\).*1.*@plugin\(api=1\)", mistake(transport="pigeon://"))


def test_two_distributions_with_one_name_are_both_named(install: Install):
    install("[catga.transports]\npigeon = pigeon_catga:add_pigeon\n")
    install("[catga.transports]\npigeon = other_catga:add_pigeon\n", name="other-catga")

    assert re.search(r"'pigeon' .* twice, from other-catga and pigeon-catga", mistake(transport="pigeon://"))


def test_one_distribution_that_is_on_the_path_twice_is_no_duplicate(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    install("[catga.transports]\npigeon = pigeon_catga:add_pigeon\n")
    again = tmp_path / "again"
    again.mkdir()
    (again / "here").symlink_to(tmp_path / "pigeon-catga", target_is_directory=True)
    monkeypatch.syspath_prepend(str(again / "here"))

    add_catga(CatgaOptions(transport="pigeon://roof"))

    assert calls() == ["pigeon://roof"]


def test_a_disabled_plugin_is_never_loaded_whoever_asks_for_it(install: Install):
    install("[catga.behaviors]\naudit = pigeon_catga:add_part\n", code="raise RuntimeError('imported')")

    assert re.search(r"'audit'.*disabled_plugins", mistake(plugins=["audit"], disabled_plugins=["audit"]))


# --- what is said ---


def test_one_line_says_what_was_loaded_and_from_where(install: Install, log: list[MutableMapping[str, Any]]):
    install(
        "[catga.transports]\npigeon = pigeon_catga:add_pigeon\n[catga.behaviors]\naudit = pigeon_catga:add_part\n"
    )

    add_catga(CatgaOptions(transport="pigeon://user:secret@roof", plugins=["audit"]))

    assert log == [
        {
            "event": "catga.plugins_loaded",
            "log_level": "info",
            "plugins": [
                "catga.transports:pigeon (pigeon-catga 1.2.3)",
                "catga.behaviors:audit (pigeon-catga 1.2.3)",
            ],
        }
    ]


def test_nothing_is_said_where_nothing_is_loaded(log: list[MutableMapping[str, Any]]):
    add_catga()

    assert log == []
