"""The demo keeps its orders: killed in the middle, it goes on to the totals of a run that nothing happened to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from catga_testing.servers import ValkeyServer
from examples.order_system import compositions
from examples.order_system.orders.messages import Sales, SalesReport
from examples.order_system.stores import MEMORY, Store, StoreError, StoreKind, parse_store
from tests.examples import oracle
from tests.examples.runner import DATA, ROOT, Run

Demo = Callable[..., Run]

KEEPING = ["sqlite", pytest.param("redis", marks=pytest.mark.redis)]


@pytest.fixture(params=KEEPING)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store that is empty, as it is written on the command line."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'orders.db'}"
        return
    with ValkeyServer(appendfsync="always") as server:
        yield server.url


@pytest.fixture
def source(tmp_path: Path, shipped: list[str]) -> Path:
    """Some of the shipped orders, one sent twice and two lines that are none among them."""
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(shipped[:190]), encoding="utf-8")
    return file


def expected_of(source: Path) -> dict[str, Any]:
    expected = oracle.totals(source, DATA / "catalog.json")
    del expected["bad_lines"]
    return expected


def check(run: Run, source: Path) -> dict[str, Any]:
    """Hold a run against the plain loop; return its report."""
    assert run.code == 0, run.out + run.err
    (report,) = run.summary["runs"]
    assert report["totals"] == expected_of(source)
    assert report["mismatches"] == []
    assert report["notified"] == report["totals"]["notifications"]
    return dict(report)


async def sales_in(store: str) -> Sales:
    async with compositions.one_process(parse_store(store)).running() as app:
        return (await app.mediator.send(SalesReport())).unwrap()


async def test_killed_in_the_middle_it_goes_on_to_the_same_totals(
    demo: Demo, store: str, source: Path
) -> None:
    # One at a time; with 32 it is killed again and again below.
    options = (str(source), "--store", store, "--concurrency", "1", "--json")
    killed = demo(*options, "--crash-after", "100")
    assert killed.code == -signal.SIGKILL, killed.err
    assert killed.out == ""
    assert "SIGKILL to this process" in killed.err
    assert f"run it again with --store {store}, without --crash-after" in killed.err

    left = await sales_in(store)
    assert left.decided >= 100
    assert left.under_way >= 1, "nothing was under way: the kill was not in the middle"

    report = check(demo(*options), source)
    assert report["resumed"] >= 1
    assert left.decided <= report["decided_before"] <= left.decided + left.under_way


@pytest.mark.slow
def test_killed_again_and_again_it_still_comes_to_the_same_totals(
    demo: Demo, store: str, source: Path
) -> None:
    options = (str(source), "--store", store, "--json", "--quiet")
    decided_before = [0]
    # Each kill leaves as many again under way, which the next run finishes first.
    for after in (1, 7, 12, 3):
        assert demo(*options, "--crash-after", str(after)).code == -signal.SIGKILL
        decided_before.append(check_between(store, decided_before[-1] + after))
    check(demo(*options), source)


def check_between(store: str, least: int) -> int:
    decided = asyncio.run(sales_in(store)).decided
    assert decided >= least, "what was answered is gone"
    return decided


def test_a_second_run_has_every_answer_from_the_first_and_changes_nothing(
    demo: Demo, store: str, source: Path
) -> None:
    first = check(demo(str(source), "--store", store, "--json"), source)
    second = check(demo(str(source), "--store", store, "--json"), source)
    assert first["decided_before"] == 0
    assert second["decided_before"] == second["totals"]["notifications"]
    assert second["bad_lines"] == first["bad_lines"]


def test_other_orders_are_added_to_those_of_the_first_run(
    demo: Demo, store: str, tmp_path: Path, shipped: list[str]
) -> None:
    for part in (shipped[:60], shipped[60:120]):
        source = tmp_path / "part.jsonl"
        source.write_text("\n".join(part), encoding="utf-8")
        run = demo(str(source), "--store", store, "--json", "--quiet")
        assert run.code == 0, run.out
        (report,) = run.summary["runs"]
        expected = expected_of(source)
        for name in ("read", "accepted", "refused", "revenue"):
            assert report["totals"][name] == expected[name]
        assert report["decided_before"] == 0


def test_the_same_orders_in_other_messages_are_duplicates(demo: Demo, tmp_path: Path, source: Path) -> None:
    store = f"sqlite:///{tmp_path / 'orders.db'}"
    decided = check(demo(str(source), "--store", store, "--json"), source)["totals"]["notifications"]
    source.write_text("\n" + source.read_text(encoding="utf-8"), encoding="utf-8")
    run = demo(str(source), "--store", store, "--json")
    assert run.code == 0, run.out
    totals = run.summary["runs"][0]["totals"]
    assert totals["accepted"] == 0
    assert totals["refused"]["DUPLICATE_ORDER"] >= decided
    assert totals["notifications"] == decided


@pytest.mark.slow
def test_two_runs_at_once_decide_each_order_once(store: str, source: Path) -> None:
    command = [sys.executable, "-m", "examples.order_system", str(source), "--store", store, "--json"]
    with ExitStack() as running:
        runs = [
            running.enter_context(
                subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
            for _ in range(2)
        ]
        ended = [run.communicate(timeout=50) for run in runs]
    for run, (out, err) in zip(runs, ended, strict=True):
        assert run.returncode == 0, out + err
        (report,) = json.loads(out)["runs"]
        assert report["totals"] == expected_of(source)


def test_an_order_that_was_under_way_is_decided_though_it_is_not_handed_in_again(
    demo: Demo, tmp_path: Path, source: Path
) -> None:
    store = f"sqlite:///{tmp_path / 'orders.db'}"
    assert demo(str(source), "--store", store, "--crash-after", "50").code == -signal.SIGKILL
    run = demo("-", "--store", store, "--json", stdin="")
    assert run.code == 0, run.out + run.err
    (report,) = run.summary["runs"]
    assert report["resumed"] >= 1
    assert report["mismatches"] == []
    assert report["totals"]["notifications"] >= 50


def test_memory_comes_to_the_same_totals(demo: Demo, source: Path) -> None:
    check(demo(str(source), "--store", "memory", "--json"), source)


def test_a_crash_that_never_comes_is_told(demo: Demo, tmp_path: Path, source: Path) -> None:
    store = f"sqlite:///{tmp_path / 'orders.db'}"
    run = demo(str(source), "--store", store, "--crash-after", "100000", "--json")
    check(run, source)
    assert "nothing was killed" in run.err


def test_without_a_store_nothing_is_left_behind(demo: Demo, source: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "examples.order_system", str(source)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "state in a temporary SQLite file" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == [source.name]


# --- what cannot be used ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--store", "postgres:orders"], "'postgres:orders' is no store: write memory, sqlite:///FILE or redis://HOST:PORT"),
        (["--store", "sqlite:"], "'sqlite:' is no store"),
        (["--store", "redis:"], "'redis:' is no store"),
        (["--store", "memory", "--crash-after", "5"], "--crash-after cannot be used with --store memory"),
        (["--crash-after", "5"], "add --store sqlite:///FILE"),
        (["--store", "sqlite:///x.db", "--services", "--crash-after", "5"], "leave --services out"),
        (["--store", "sqlite:///x.db", "--crash-after", "0"], "'0' cannot be used"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_told_in_one_line(call: Demo, options: list[str], told: str) -> None:
    run = call(*options)
    assert run.code == 2
    assert told in run.err.splitlines()[-1]
    assert run.out == ""


def a_text(folder: Path) -> str:
    file = folder / "notes.db"
    file.write_text("not a database, but a page of text\n" * 40, encoding="utf-8")
    return f"sqlite:///{file}"


def of_another_program(folder: Path) -> str:
    connection = sqlite3.connect(folder / "photos.db")
    connection.execute("PRAGMA application_id = 1345")
    connection.execute("CREATE TABLE photos (taken)")
    connection.close()
    return f"sqlite:///{folder / 'photos.db'}"


def a_folder(folder: Path) -> str:
    return f"sqlite:///{folder}"


def nowhere(folder: Path) -> str:
    return f"sqlite:///{folder / 'no' / 'orders.db'}"


def nobody(_folder: Path) -> str:
    return "redis://user:secret@127.0.0.1:1"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (a_text, "is not a SQLite database"),
        (of_another_program, "belongs to another application"),
        (a_folder, "is a directory"),
        (nowhere, "does not exist"),
        pytest.param(nobody, "no Redis at ", marks=pytest.mark.redis),
    ],
)
def test_a_store_that_cannot_be_used_is_told_in_one_line(
    call: Demo, tmp_path: Path, place: Callable[[Path], str], told: str
) -> None:
    run = call("--store", place(tmp_path), "--quiet")
    assert run.code == 1
    (line,) = run.err.splitlines()
    assert line.startswith("order_system: ")
    assert told in line
    assert "secret" not in line
    assert run.out == ""


# --- how a store is written ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        ("memory", StoreKind.MEMORY, ""),
        ("sqlite:///orders.db", StoreKind.SQLITE, "orders.db"),
        ("sqlite:////var/lib/orders.db", StoreKind.SQLITE, "/var/lib/orders.db"),
        ("redis://localhost:6379/1", StoreKind.REDIS, "redis://localhost:6379/1"),
        ("rediss://localhost", StoreKind.REDIS, "rediss://localhost"),
    ],
)
def test_a_store_is_read_as_it_is_written(text: str, kind: StoreKind, place: str) -> None:
    store = parse_store(text)
    assert (store.kind, store.place) == (kind, place)
    assert parse_store(store.argument) == store


@pytest.mark.parametrize(
    "text",
    [
        "",
        "memory:x",
        "sqlite",
        "sqlite:orders.db",
        "sqlite://orders.db",
        "sqlite:///",
        "sqlite:///x.db?readers=1",
        "file:orders.db",
        "redis://",
        "redis:redis://localhost",
    ],
)
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(StoreError, match="is no store: write memory"):
        parse_store(text)


def test_what_to_type_next_shows_no_password() -> None:
    assert parse_store("sqlite:///my shop.db").option == "--store sqlite:///my%20shop.db"
    assert parse_store("redis://:secret@localhost").option == "the same --store"


def test_each_service_has_a_place_of_its_own() -> None:
    orders, inventory = (
        Store(StoreKind.SQLITE, "/data/shop.db").of(name) for name in ("orders", "inventory")
    )
    assert (str(orders.file), str(inventory.file)) == ("/data/shop-orders.db", "/data/shop-inventory.db")
    redis = Store(StoreKind.REDIS, "redis://localhost")
    assert len({redis.prefix, redis.of("orders").prefix, redis.of("inventory").prefix}) == 3


def test_events_on_the_server_are_kept_where_the_orders_are() -> None:
    assert str(Store(StoreKind.SQLITE, "/data/shop.db").streams) == "/data/shop-nats"
    assert Store(StoreKind.REDIS, "redis://localhost").streams == Path.cwd() / "order-system-nats"
    assert Store(StoreKind.SQLITE, "/tmp/shop.db", temporary=True).streams is None
    assert MEMORY.streams is None


def test_no_password_is_shown() -> None:
    assert str(parse_store("redis://user:secret@db:6379/0")) == "Redis at db:6379"
