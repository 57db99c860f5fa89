"""What each distribution brings beside its code, and what the repository must not hold."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest

from tests.packaging.projects import ALL, FOLDERS, MEMBERS, ROOT, requirements

every_member = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


@every_member
def test_members_are_typed_and_licensed(folder: Path) -> None:
    assert (folder / "src" / folder.name / "py.typed").is_file()
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (
        (folder / "README.md").read_text(encoding="utf-8").startswith(f"# {folder.name.replace('_', '-')}\n")
    )


@pytest.mark.parametrize("name", ALL)
def test_every_requirement_says_why_it_is_there(name: str) -> None:
    folder = ROOT if name == "catga" else ROOT / name
    lines = (folder / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    silent = [
        need
        for need in requirements(ALL[name])
        # The self-reference of the extra "all" has its reason in its name.
        if not need.startswith("catga[") and not any(f'"{need}"' in line and "#" in line for line in lines)
    ]
    assert silent == []


def declared_entry_points() -> list[EntryPoint]:
    names = [project["project"]["name"] for project in MEMBERS.values()]
    return [point for name in names for point in distribution(name).entry_points]


@pytest.mark.parametrize("point", declared_entry_points(), ids=lambda point: f"{point.group}:{point.name}")
def test_entry_points_lead_somewhere(point: EntryPoint) -> None:
    assert point.load() is not None


def test_installed_entry_points_are_the_declared_ones() -> None:
    declared = {
        (group, name, value)
        for project in MEMBERS.values()
        for group, points in project["project"].get("entry-points", {}).items()
        for name, value in points.items()
    }
    assert {(point.group, point.name, point.value) for point in declared_entry_points()} == declared


def tracked() -> list[Path]:
    """The text files that git tracks; none in an sdist or a copy without git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_file_names_a_registry_or_this_machine() -> None:
    # A package comes from wherever the installer is configured to look, and the tree may lie anywhere.
    registry = re.compile(rb"pypi[.]org|pythonhosted[.]org")
    here = re.escape(str(ROOT).encode())
    found = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if registry.search(data := path.read_bytes()) or re.search(here + rb"\b", data)
    ]
    assert found == []


def test_no_lock_file_is_tracked() -> None:
    assert [path.name for path in tracked() if path.name in {"uv.lock", "pylock.toml"}] == []
