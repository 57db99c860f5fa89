"""Runs the demo, and what a run gives."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DATA = ROOT / "examples/order_system/data"


class Run:
    """One finished run of the demo."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    @property
    def summary(self) -> dict[str, Any]:
        assert self.out, self.err
        return json.loads(self.out)  # type: ignore[no-any-return]
