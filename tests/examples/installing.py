"""What pip leaves behind of an example package, without installing it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest


def installed(folder: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a package's entry points found, as its pyproject.toml has them; its sources are on the path already.

    Parameters:
        folder: where its pyproject.toml is.
        site: a folder for this test alone.
        monkeypatch: takes it back.
    """
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Name: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
