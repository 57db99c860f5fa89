"""The worked feature package keeps its specification, and is found by its entry point like any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from catga_audit import AuditStore

from catga_core import CatgaOptions, Command, ConfigurationError, add_catga
from catga_testing.contracts.kept import dropped_tests
from examples.audit_feature.tests.test_audit import *  # noqa: F403 - the package's own tests, run here as they stand
from examples.audit_feature.tests.test_contract import TestMemoryAudit, TestSqliteAudit
from examples.audit_feature.tests.test_options import *  # noqa: F403
from examples.audit_feature.tests.test_writer import *  # noqa: F403
from tests.examples.installing import installed

__all__ = ["TestMemoryAudit", "TestSqliteAudit"]

FOLDER = Path(__file__).parents[2] / "examples" / "audit_feature"

# Nothing of it imports catga_audit before the plugin does.
PROGRAM = """
import asyncio
from catga_core import CatgaOptions, Command, ConfigurationError, add_catga

class Ship(Command[None]):
    pass

async def ship(message: Ship) -> None:
    pass

async def main() -> None:
    catga = add_catga(CatgaOptions.from_env())
    catga.add_handlers(ship)
    async with catga.running() as app:
        await app.mediator.send(Ship(), headers={"actor": "ada"})
    async with catga.running(roles={"admin"}) as app:
        for entry in await app.audit_store.find():
            print(entry.message, entry.actor, entry.outcome, sorted(set(app.health()) & {"audit", "audit_writer"}))

try:
    asyncio.run(main())
except ConfigurationError as error:
    print(error)
"""


class Ship(Command[None]):
    pass


async def ship(message: Ship) -> None:
    del message


async def test_its_name_is_enough_to_add_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(FOLDER, tmp_path / "site", monkeypatch)
    monkeypatch.setenv("CATGA_AUDIT_BATCH_SIZE", "1")
    catga = add_catga(CatgaOptions(service_name="shipping", plugins=["audit"]))
    catga.add_handlers(ship)

    async with catga.running(roles={"admin"}) as app:
        await app.mediator.send(Ship())

        assert [each.message for each in await app.get(AuditStore).find()] == ["Ship"]


def test_without_the_package_its_name_is_unknown() -> None:
    with pytest.raises(ConfigurationError, match="'audit'"):
        add_catga(CatgaOptions(plugins=["audit"]))


@pytest.mark.parametrize(
    ("variable", "printed"),
    [
        ("CATGA_AUDIT_FILE", "Ship ada succeeded ['audit']"),
        ("CATGA_AUDIT_FLIE", "CATGA_AUDIT_FLIE is not an option: did you mean 'CATGA_AUDIT_FILE'?"),
    ],
)
def test_program_is_configured_by_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, printed: str
) -> None:
    installed(FOLDER, tmp_path / "site", monkeypatch)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(FOLDER / "src")]),
        "CATGA_SERVICE_NAME": "shipping",
        "CATGA_PLUGINS": "audit",
        variable: str(tmp_path / "audit.db"),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    # Among the lines of the log.
    assert printed in done.stdout.splitlines(), done.stdout


def test_dropped_test_of_its_contract_kit_is_found() -> None:
    name = "test_limit_keeps_the_last_entries"

    assert dropped_tests(TestMemoryAudit) == []
    assert dropped_tests(type("Lazy", (TestMemoryAudit,), {"__module__": __name__, name: None})) == [name]
