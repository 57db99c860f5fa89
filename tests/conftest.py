"""Gives tests a place to keep state in, and prints after a run which store has kept which contract."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import settings

from catga_testing.contracts.stores import kits
from catga_testing.servers import ValkeyServer
from tests.stores import PLACES, Place, place_of

_STORES = ("memory", "sqlite", "redis", "redis cluster", "redis-server")
# What runs the kits on Redis beside Valkey alone: a cluster of it, and the other server where somebody has installed it.
_OTHER_REDIS = {"TestClusterStores": "redis cluster", "TestRedisStores": "redis-server"}
_KIT = re.compile(r"tests/contracts/test_(\w+?)_stores\.py")
_PARAMETER = re.compile(r"\[(?:.*-)?(memory|sqlite|redis)(?:-.*)?\]$")
_KITS = sorted(set(kits.__all__) - {"StoresContract"})
_SUITES = {"tests/application/": "application suite"}
_CELL = "store-matrix"


# How long an example takes says how busy the machine is: no test fails for it.
settings.register_profile("catga", deadline=None)
settings.load_profile("catga")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where the test's containers keep their state: one test for each sort of storage."""

    def server_url() -> str:
        # Only for who needs one: a server is not started for a run that has no such test.
        server: ValkeyServer = request.getfixturevalue("valkey_server_shared")
        return server.url

    return place_of(request.param, tmp_path, server_url)


@pytest.fixture
def memory(tmp_path: Path) -> Place:
    """A storage that follows the container's clock."""
    return place_of("memory", tmp_path, lambda: "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note for each test of a store which row and column of the matrix it belongs to."""
    for item in items:
        cell = _cell_of(item)
        if cell is not None:
            # With the report it comes from the process that runs the test to the one that prints.
            item.user_properties.append((_CELL, cell))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the matrix, where any of its tests were run."""
    counted: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for outcome in ("passed", "failed", "error", "skipped", "xfailed"):
        for report in terminalreporter.stats.get(outcome, []):
            cell = dict(getattr(report, "user_properties", ())).get(_CELL)
            if cell is not None:
                row, store = cell
                counted[row, store][outcome] += 1
    if not counted:
        return
    terminalreporter.write_sep("=", "stores: tests passed (in brackets: skipped)")
    rows = sorted({row for row, _ in counted})
    ran = {store for (_, store), counts in counted.items() if counts.total() > counts["skipped"]}
    stores = [store for store in _STORES if store in ran]
    terminalreporter.write_line(f"{'':<24}" + "".join(f"{store:>16}" for store in stores))
    for row in rows:
        cells = (_text(counted.get((row, store))) for store in stores)
        terminalreporter.write_line(f"{row:<24}" + "".join(f"{cell:>16}" for cell in cells))


def _cell_of(item: pytest.Item) -> tuple[str, str] | None:
    kit = _KIT.match(item.nodeid)
    function = getattr(item, "function", None)
    if kit is not None and kit[1] in _STORES and function is not None:
        row = _kit_with(function.__qualname__.partition(".")[0])
        store = _OTHER_REDIS.get(item.nodeid.split("::")[1], kit[1])
        # The guards of all kits are not promises of a store.
        return (row, store) if row in _KITS else None
    for prefix, row in _SUITES.items():
        parameter = _PARAMETER.search(item.nodeid) if item.nodeid.startswith(prefix) else None
        if parameter is not None:
            return row, parameter[1]
    return None


def _kit_with(part: str) -> str:
    """Return the kit that a class of tests is a part of: that of its port."""
    for name in _KITS:
        parts = {each.__name__ for each in getattr(kits, name).__mro__} - {"Contract", "StoresContractBase"}
        if part in parts:
            return name
    return part


def _text(counts: Counter[str] | None) -> str:
    if counts is None:
        return "-"
    broken = counts["failed"] + counts["error"]
    if broken:
        return f"{broken} FAILED"
    left_out = counts["skipped"] + counts["xfailed"]
    return f"{counts['passed']}" + (f" ({left_out})" if left_out else "")
