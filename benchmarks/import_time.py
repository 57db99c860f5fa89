"""What importing Catga costs, beside what importing asyncio costs.

Each import runs in a process of its own, which sees the standard library and what the distribution requires, and nothing
else: dependency-injector, for one, imports PyYAML where it finds it. The seconds are taken inside, without the start of
the interpreter, which would flatter the ratio.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from benchmarks.measure import Row

_PROGRAM = """
import sys
sys.path.insert(0, {site!r})
from time import perf_counter
begun = perf_counter()
import {modules}
print(perf_counter() - begun)
"""
_REQUIRED = ("catga_core", "msgspec", "dependency_injector", "structlog")


def run(rounds: int) -> list[Row]:
    """Measure the imports, the limit before and after each of ours."""
    rows = [_row("import catga_core", ("catga_core",), _REQUIRED, "<= 2.5", rounds)]
    # catga_nats leaves its driver to the start of the transport; it is counted here all the same.
    if _installed("nats-py"):
        modules = ("catga_core", "catga_nats", "catga_nats.client")
        rows.append(
            _row("with catga_nats and nats-py", modules, (*_REQUIRED, "catga_nats", "nats"), "<= 4", rounds)
        )
    return rows


def _row(name: str, modules: tuple[str, ...], packages: tuple[str, ...], goal: str, rounds: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        for package in packages:
            (Path(folder) / package).symlink_to(_folder_of(package))
        ours = _PROGRAM.format(site=folder, modules=", ".join(modules))
        limit = _PROGRAM.format(site=folder, modules="asyncio")
        _seconds(ours)  # leaves the bytecode behind
        limits = [_seconds(limit)]
        times: list[float] = []
        ratios: list[float] = []
        for _ in range(rounds):
            times.append(_seconds(ours))
            limits.append(_seconds(limit))
            ratios.append(times[-1] / ((limits[-2] + limits[-1]) / 2))
    return Row(
        name,
        statistics.median(ratios),
        statistics.median(times) * 1000,
        statistics.median(limits) * 1000,
        "ms",
        goal,
    )


def _seconds(program: str) -> float:
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True, text=True
    )
    return float(answer.stdout)


def _folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        msg = f"{package} is not installed: run `nox -s bench`"
        raise RuntimeError(msg)
    return Path(next(iter(found.submodule_search_locations))).resolve()


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    from benchmarks.measure import table

    print(table(run(25)))
