"""All distributions are released together: what they say about themselves and each other must agree."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.packaging.projects import ALL, FOLDERS, MEMBERS, META, requirements

VERSION = META["project"]["version"]
every_distribution = pytest.mark.parametrize("project", ALL.values(), ids=ALL)


@every_distribution
def test_all_have_one_version(project: dict[str, Any]) -> None:
    assert project["project"]["version"] == VERSION


@every_distribution
def test_what_is_installed_has_that_version(project: dict[str, Any]) -> None:
    assert version(project["project"]["name"]) == VERSION, "an old install: install the workspace again"


def test_versions_written_in_code_are_the_same() -> None:
    pattern = re.compile(r"""^__version__\b[^=\n]*= *["']([^"']+)["']""", re.MULTILINE)
    sources = [path for folder in FOLDERS for path in folder.glob("src/**/*.py")]
    written = {
        str(path): found for path in sources for found in pattern.findall(path.read_text(encoding="utf-8"))
    }
    assert written == dict.fromkeys(written, VERSION)


@every_distribution
def test_sisters_are_pinned_to_the_same_version(project: dict[str, Any]) -> None:
    needed = [Requirement(line) for line in requirements(project)]
    sisters = [need for need in needed if need.name.startswith("catga-")]
    assert [str(need.specifier) for need in sisters] == [f"=={VERSION}"] * len(sisters)


@every_distribution
def test_third_parties_have_a_lower_bound_and_are_never_pinned(project: dict[str, Any]) -> None:
    needed = [Requirement(line) for line in requirements(project)]
    operators = {
        need.name: {bound.operator for bound in need.specifier}
        for need in needed
        if need.name != "catga" and not need.name.startswith("catga-")
    }
    wrong = {name: found for name, found in operators.items() if ">=" not in found or "==" in found}
    assert wrong == {}


@every_distribution
def test_all_agree_on_python_and_licence(project: dict[str, Any]) -> None:
    fields = ("requires-python", "license", "authors")
    assert [project["project"][field] for field in fields] == [META["project"][field] for field in fields]


def test_the_workspace_is_every_member() -> None:
    assert META["tool"]["uv"]["workspace"]["members"] == sorted(MEMBERS)


def test_the_extra_all_is_every_other_extra() -> None:
    extras = META["project"]["optional-dependencies"]
    (everything,) = (Requirement(line) for line in extras["all"])
    assert everything.name == "catga"
    assert everything.extras == set(extras) - {"all"}
