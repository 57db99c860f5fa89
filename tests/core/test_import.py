"""A program pays only for what it uses: `import catga_core` leaves drivers, loggers and settings alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAMS = {
    "import": "import catga_core",
    "every public name": "from catga_core import *",
    "composition": "from catga_core import add_catga; add_catga()",
}
UNWANTED = {
    "nats",
    "redis",
    "opentelemetry",
    "structlog",
    "pydantic",
    "pydantic_settings",
    "uvloop",
    "pytest",
    "mypy",
    "catga_core.event_sourcing",
    "catga_core.features.outbox",
    "catga_core.memory",
    "catga_nats",
    "catga_testing",
    "importlib.metadata",
    "pathlib",
    "secrets",
}


def loaded_by(program: str) -> set[str]:
    # A process of its own: this one has imported everything already. What site.py has loaded for editable installs is
    # not ours, and neither is what dependency-injector loads: it imports pydantic wherever that is installed.
    lines = f"import sys, dependency_injector.providers; before = set(sys.modules)\n{program}\nprint(*(set(sys.modules) - before))"
    answer = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_nothing_is_imported_that_a_program_may_not_need(program: str) -> None:
    loaded = loaded_by(program)
    assert "catga_core" in loaded
    assert loaded & UNWANTED == set()


def test_structlog_comes_with_the_first_line_that_is_logged() -> None:
    assert "structlog" in loaded_by("from catga_core.log import logger; logger()")


def test_the_driver_comes_with_the_start_of_the_transport() -> None:
    program = (
        "from catga_nats import add_nats_catga; from catga_core import add_catga; add_nats_catga(add_catga())"
    )
    loaded = loaded_by(program)
    assert "catga_nats" in loaded
    assert "nats" not in loaded


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import catga_core

    with pytest.raises(AttributeError, match="has no attribute 'add_cagta'"):
        _ = catga_core.add_cagta  # type: ignore[attr-defined]
