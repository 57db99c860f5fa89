"""The page about the architecture shows the layers, the stages and the runtime primitives as they are."""

from __future__ import annotations

import re
import tomllib

import pytest

from benchmarks.paths import PATHS, trace_of
from catga_core import Stage, runtime
from tests.docs.pages import DOCS, ROOT, blocks_of

PAGE = DOCS / "architecture.md"
CORE = ROOT / "catga_core/src/catga_core"


def section(heading: str) -> str:
    return PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def layers() -> list[set[str]]:
    """Return the names of each layer of the core, from the top."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    [contract] = [each for each in contracts if each.get("containers") == ["catga_core"]]
    return [set(re.findall(r"\w+", layer)) for layer in contract["layers"]]


def test_every_layer_is_described() -> None:
    cells = re.findall(r"^\| ([^|]+) \|", section("Layers"), re.MULTILINE)
    shown = {re.sub(r"(/.*|\.py)$", "", name) for cell in cells for name in re.findall(r"`([^`]+)`", cell)}

    assert shown == {name for names in layers() for name in names}


def test_diagram_of_layers_keeps_their_order() -> None:
    diagram = next(block.source for block in blocks_of(PAGE) if block.language == "text")
    place = {name: number for number, names in enumerate(layers()) for name in names}
    drawn = [
        [place[name] for name in re.findall(r"\w+", line[:30]) if name in place]
        for line in diagram.splitlines()
    ]
    order = [number for line in drawn for number in line]

    assert order == sorted(order)
    assert len(order) >= 20


def test_stages_are_in_their_order() -> None:
    shown = re.findall(r"^\| `([A-Z_]+)` \|", section("Stages"), re.MULTILINE)

    assert shown == [stage.name for stage in Stage]


def test_every_runtime_primitive_is_described() -> None:
    shown = set(re.findall(r"`(\w+)`", section("Runtime primitives")))

    parts = {"Leased", "WorkerState", "jittered"}  # of Lease, Worker and RetryPolicy
    assert set(runtime.__all__) - parts <= shown


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"\b[a-z_]+(?:/[a-z_]+)+\.py\b", PAGE.read_text("utf-8"))))
)
def test_named_module_exists(path: str) -> None:
    found = [path for base in (CORE, CORE / "event_sourcing") if (base / path).is_file()]
    outside = ROOT / "catga_testing/src" / path, ROOT / "catga_testing/src/catga_testing" / path

    assert found or any(each.is_file() for each in outside) or path == "stores/__init__.py"


@pytest.mark.parametrize(
    ("path", "passed"),
    [
        ("send", "pipeline.dispatch"),
        ("publish", "mediator.delivery"),
        ("projection", "pipeline.dispatch"),
        ("transport", "pipeline.dispatch"),
    ],
)
async def test_path_passes_no_more_modules_than_the_page_says(path: str, passed: str) -> None:
    title = PATHS[path][0]
    [row] = re.findall(
        rf"^\| {re.escape(title)} \|(.+)\|$", section("How many modules a message passes"), re.MULTILINE
    )
    modules = int(row.split("|")[1])

    trace = await trace_of(path)

    assert f"catga_core.{passed}" in trace.modules
    assert len(trace.modules) <= modules
