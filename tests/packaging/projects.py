"""The pyproject.toml files of the workspace, as the tests of this folder read them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("catga_*/pyproject.toml"))


def load(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


META = load(ROOT)
MEMBERS = {folder.name: load(folder) for folder in FOLDERS}
ALL = {"catga": META, **MEMBERS}


def requirements(project: dict[str, Any]) -> list[str]:
    """What a distribution needs, with and without extras."""
    extras: dict[str, list[str]] = project["project"].get("optional-dependencies", {})
    return [*project["project"]["dependencies"], *(line for lines in extras.values() for line in lines)]
