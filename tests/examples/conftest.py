from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from examples.order_system.cli import main
from tests.examples.runner import DATA, ROOT, Run


@pytest.fixture
def demo() -> Callable[..., Run]:
    """Run the demo as a person does, from the root of the repository."""

    def run(*arguments: str, stdin: str = "", timeout: float = 50) -> Run:
        command = [sys.executable, "-m", "examples.order_system", *arguments]
        return Run(
            subprocess.run(
                command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
            )
        )

    return run


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Call the demo in this process: for calls that end before an order is read."""

    def run(*arguments: str) -> Run:
        try:
            code = main(arguments)
        except SystemExit as ended:
            # As the interpreter does: a text is printed, and the exit code is 1.
            code = ended.code if isinstance(ended.code, int) else 1
        printed = capsys.readouterr()
        return Run(subprocess.CompletedProcess(arguments, code, printed.out, printed.err))

    return run


@pytest.fixture(scope="session")
def shipped() -> list[str]:
    """The lines of the file that comes with the demo."""
    return (DATA / "orders.jsonl").read_text(encoding="utf-8").splitlines()
