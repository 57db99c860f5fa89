"""What a program's author sees of the types: both checkers read the files in programs/, which nobody runs.

A line that must be refused ends in `# E: mypy[code] pyright[rule]`, or has that above it; all others must pass. What a line gives is said by
`assert_type`, which the checkers refuse where they infer something else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
SOURCES = [ROOT / name / "src" for name in ("catga_core", "catga_nats", "catga_testing")]

Found = dict[str, set[str]]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_programs_are_understood_as_written(checker: str, tmp_path: Path) -> None:
    found, messages = (by_mypy if checker == "mypy" else by_pyright)(tmp_path)
    wrong = [
        f"{place}: expected {sorted(expected.get(place, ())) or 'nothing'}, found {sorted(found.get(place, ())) or 'nothing'}"
        f" {messages.get(place, '')}"
        for expected in [expectations(checker)]
        for place in sorted({*found, *expected})
        if found.get(place, set()) != expected.get(place, set())
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("package", ["catga_core", "catga_nats", "catga_testing"])
def test_public_interface_is_completely_typed(package: str, tmp_path: Path) -> None:
    # pyright looks for an installed package, passes over one that is installed as editable, and takes what lies beside
    # it for all there is.
    site = tmp_path / "site"
    site.mkdir()
    installed = [
        folder for folder in Path(sysconfig.get_path("purelib")).iterdir() if folder.suffix != ".pth"
    ]
    for folder in (*installed, *(folder for source in SOURCES for folder in source.iterdir())):
        link = site / folder.name
        if not link.exists():
            link.symlink_to(folder)
    arguments = ("--pythonpath", sys.executable, "--ignoreexternal", "--outputjson")
    report = json.loads(run("pyright", "--verifytypes", package, *arguments, PYTHONPATH=str(site)).stdout)
    completeness = report["typeCompleteness"]
    assert completeness["packageName"] == package
    assert completeness["pyTypedPath"], report
    assert completeness["exportedSymbolCounts"]["withKnownType"]
    unknown = [
        f"{symbol['name']}: {each['message']}"
        for symbol in completeness["symbols"]
        if symbol["isExported"] and (symbol["isTypeAmbiguous"] or not symbol["isTypeKnown"])
        for each in symbol["diagnostics"]
    ]
    assert not unknown, "\n".join(unknown)


def expectations(checker: str) -> Found:
    expected: Found = {}
    for path in PROGRAMS.glob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            _, marked, rest = line.partition("# E: ")
            said = re.search(rf"\b{checker}\[([\w, -]+)\]", rest)
            if marked and said:
                # Alone on its line it is about the next.
                about = number if line.partition("#")[0].strip() else number + 1
                expected[f"{path.name}:{about}"] = {code.strip() for code in said[1].split(",")}
    assert expected
    return expected


def by_mypy(tmp_path: Path) -> tuple[Found, dict[str, str]]:
    settings = tmp_path / "mypy.ini"
    settings.write_text(
        "[mypy]\npython_version = 3.11\nstrict = True\nenable_error_code = unused-awaitable\n"
    )
    answer = run(
        "mypy", "--config-file", str(settings), "--output", "json", "--cache-dir", str(tmp_path / "cache"), ".",
        MYPYPATH=os.pathsep.join(map(str, SOURCES)),
    )  # fmt: skip
    found: Found = defaultdict(set)
    messages: dict[str, str] = {}
    for line in answer.stdout.splitlines():
        each = json.loads(line)
        if each["severity"] == "error":
            place = f"{Path(each['file']).name}:{each['line']}"
            found[place].add(each["code"])
            messages[place] = each["message"]
    assert answer.returncode in {0, 1}, answer.stdout + answer.stderr
    return found, messages


def by_pyright(tmp_path: Path) -> tuple[Found, dict[str, str]]:
    # Copied, because pyright only looks below its configuration file.
    programs = shutil.copytree(PROGRAMS, tmp_path / "programs")
    settings: dict[str, Any] = {
        "include": ["programs"],
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
        "extraPaths": [str(programs), *map(str, SOURCES)],
    }
    project = tmp_path / "pyrightconfig.json"
    project.write_text(json.dumps(settings))
    answer = run("pyright", "--project", str(project), "--pythonpath", sys.executable, "--outputjson")
    report = json.loads(answer.stdout)
    found: Found = defaultdict(set)
    messages: dict[str, str] = {}
    for each in report["generalDiagnostics"]:
        place = f"{Path(each['file']).name}:{each['range']['start']['line'] + 1}"
        found[place].add(each.get("rule", each["severity"]))
        messages[place] = each["message"]
    assert report["summary"]["filesAnalyzed"] == len(list(PROGRAMS.glob("*.py")))
    return found, messages


def run(tool: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", tool, *arguments],
        cwd=PROGRAMS,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
