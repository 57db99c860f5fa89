"""The shell commands of the documentation exist: sessions, packages, extras, modules, paths."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, Block, blocks_of, name_of

SHELL = {"bash", "sh", "shell", "console"}
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
# What a reader has, and what the pages may tell them to use without a word of where it comes from.
TOOLS = {".", "git", "cd", "uv", "pytest", "mypy", "docker", "nats-server", "curl", "export"}
# Packages of others that a page may ask for.
OTHERS = {"nox", "uv", "mkdocs", "ipython"}


def sessions() -> set[str]:
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any("nox.session" in ast.unparse(each) for each in node.decorator_list)
    }


def distributions() -> dict[str, set[str]]:
    """Return our distributions with their extras."""
    found: dict[str, set[str]] = {}
    for file in [
        ROOT / "pyproject.toml",
        *ROOT.glob("catga_*/pyproject.toml"),
        *ROOT.glob("examples/*/pyproject.toml"),
    ]:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        found[project["name"]] = set(project.get("optional-dependencies", {}))
    return found


def name_at(folder: Path) -> str:
    name: str = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    return name


def commands_of(source: str) -> Iterator[list[str]]:
    """Yield each command of a shell block; in a block with prompts, what has none is output."""
    lines = source.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    for line in lines:
        words = shlex.split(line, comments=True)
        command: list[str] = []
        for word in [*words, "&&"]:
            if word in {"&&", ";", "|", "||"}:
                if command:
                    yield command
                command = []
            elif not command and re.fullmatch(r"[A-Z_]+=.*", word):
                continue
            else:
                command.append(word)


def problem_with(command: list[str], files: set[str]) -> str | None:
    """Return what is wrong with a command, `None` for a good one."""
    program, *arguments = command
    match program:
        case "nox":
            asked = [
                arguments[place + 1] for place, word in enumerate(arguments) if word in {"-s", "--session"}
            ]
            unknown = {name.partition("-")[0] for name in asked} - sessions()
            return f"no session {', '.join(unknown)}" if unknown else None
        case "pip":
            return _wrong_requirement(arguments)
        case "uv" if arguments[:1] == ["pip"]:
            return _wrong_requirement(arguments[1:])
        case "python" | "python3":
            return _wrong_program(arguments, files)
        case _:
            known = program in TOOLS or (ROOT / program).is_file()
            return None if known else f"what is {program}?"


def _wrong_requirement(arguments: list[str]) -> str | None:
    if arguments[:1] != ["install"]:
        return None if arguments[:1] == ["--version"] else f"pip {arguments[:1]}"
    ours = distributions()
    skip = False
    for word in arguments[1:]:
        if word in {"-e", "--quiet", "-U"}:
            continue
        if skip or word.startswith("-"):
            skip = word == "--group" and not skip
            continue
        name, _, rest = word.partition("[")
        extras = {extra.strip() for extra in rest.rstrip("]").split(",") if extra}
        if name.startswith("."):
            if not (ROOT / name / "pyproject.toml").is_file():
                return f"no distribution at {name}"
            name = name_at(ROOT / name)
        name = re.split(r"[<>=~!]", name)[0]
        if name not in ours and name not in OTHERS:
            return f"no distribution {name}"
        if extras - ours.get(name, set()):
            return f"{name} has no extra {', '.join(extras - ours.get(name, set()))}"
    return None


def _wrong_program(arguments: list[str], files: set[str]) -> str | None:
    if arguments[:1] == ["-m"]:
        module = arguments[1]
        return (
            None if module in {"venv", "build"} or importlib.util.find_spec(module) else f"no module {module}"
        )
    if arguments and not arguments[0].startswith("-"):
        return None if arguments[0] in files or (ROOT / arguments[0]).is_file() else f"no file {arguments[0]}"
    return None


def shell_blocks() -> list[tuple[Path, Block]]:
    pages = [*PAGES, CONTRIBUTING, *ROOT.glob("catga_*/README.md"), *ROOT.glob("examples/*/README.md")]
    return [(page, block) for page in pages for block in blocks_of(page) if block.language in SHELL]


@pytest.mark.parametrize(
    ("page", "block"), shell_blocks(), ids=[f"{name_of(page)}:{block.line}" for page, block in shell_blocks()]
)
def test_the_commands_of_a_page_exist(page: Path, block: Block) -> None:
    files = {each.title for each in blocks_of(page) if each.title}
    problems = [(command, problem_with(command, files)) for command in commands_of(block.source)]
    assert [(command, problem) for command, problem in problems if problem] == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("nox -s nothing", "no session nothing"),
        ('pip install "catga[nothing]"', "catga has no extra nothing"),
        ("pip install catgaa", "no distribution catgaa"),
        ("pip install ./catgaa", "no distribution at ./catgaa"),
        ("python -m catga_nothing", "no module catga_nothing"),
        ("python nothing.py", "no file nothing.py"),
        ("frobnicate --all", "what is frobnicate?"),
    ],
)
def test_a_command_that_is_not_there_is_found(source: str, problem: str) -> None:
    (command,) = commands_of(source)
    assert problem_with(command, set()) == problem


def test_the_commands_of_a_line_are_taken_apart() -> None:
    source = (
        "$ pip install nox && nox -s tests-3.11  # all of it\nsome output\n$ A=1 python -m venv \\\n  here\n"
    )
    commands = [["pip", "install", "nox"], ["nox", "-s", "tests-3.11"], ["python", "-m", "venv", "here"]]
    assert list(commands_of(source)) == commands
    assert all(problem_with(command, set()) is None for command in commands)
