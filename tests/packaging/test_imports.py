"""A program pays only for what it uses: importing a member imports no driver that it can do without."""

from __future__ import annotations

import subprocess
import sys

import pytest

DRIVERS = {"nats", "redis", "opentelemetry", "uvloop"}
TEST_TOOLS = {"pytest", "_pytest", "catga_testing"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("catga_core", DRIVERS | TEST_TOOLS | {"catga_nats", "sqlite3"}),
        # The driver is imported inside the add_* function that needs it.
        ("catga_nats", DRIVERS | TEST_TOOLS),
        ("catga_redis", DRIVERS | TEST_TOOLS),
        ("catga_sqlite", DRIVERS | TEST_TOOLS | {"sqlite3"}),
        ("catga_testing", DRIVERS | {"catga_nats", "catga_redis", "catga_sqlite"}),
    ],
)
def test_importing_a_member_imports_no_driver(module: str, unwanted: set[str]) -> None:
    # A process of its own: this one has imported everything already.
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert unwanted & set(result.stdout.split()) == set()
