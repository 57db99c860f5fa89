"""Runs the Python blocks of one page, in a process of its own: `python -m tests.docs.run_page PAGE DIRECTORY`.

A page is run as a reader would: from top to bottom, each block seeing what the ones before it have left.

- A block may `await` outside of a function, as in `python -m asyncio`.
- What it prints has to be what the page says it prints: by comments `# -> ...` in the block, or by a `text` block right
  after it; `...` stands for anything. A block that says neither may print what it likes.
- A block with `title="name.py"` is a file: it is written into the page's directory, from where later blocks import or
  start it. A file called `test_*.py` is run by pytest at once.
- A block which defines tests, and is no such file, is refused: its tests would never run.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import linecache
import os
import re
import subprocess
import sys
import traceback
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.docs.pages import SERVERS, Block, blocks_of, name_of

_SAYS = re.compile(r"# -> (.*)$", re.MULTILINE)


class WrongBlockError(Exception):
    """A block does not do what its page says."""


def main(page: Path, directory: Path) -> int:
    page = page.resolve()
    os.chdir(directory)
    sys.path.insert(0, str(directory))
    _log_to_stderr()
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    text = page.read_text(encoding="utf-8")
    # By the address that a page names.
    addresses = {
        server.local: os.environ[server.variable]
        for server in SERVERS
        if server.marker in text and server.variable in os.environ
    }
    count = 0
    with asyncio.Runner() as runner:
        for block in blocks_of(page):
            if block.language not in {"python", "py"}:
                continue
            count += 1
            try:
                _run(_at(block, addresses), page, module.__dict__, runner)
            except BaseException:  # noqa: BLE001 - SystemExit too is a block that does not do what it should
                where = f"{name_of(page)}:{block.line}"
                sys.stderr.write(f"\n{where}: this block fails\n\n{traceback.format_exc()}")
                return 1
    sys.stderr.write(f"{count} blocks\n")
    return 0


def _run(block: Block, page: Path, namespace: dict[str, Any], runner: asyncio.Runner) -> None:
    if block.title is not None and block.title.endswith(".py"):
        _write(block)
        return
    tree = ast.parse(block.source)
    tests = [each.name for each in ast.walk(tree) if isinstance(each, _FUNCTIONS) and _is_test(each)]
    if tests:
        msg = f'{", ".join(tests)} would never run: give the block a title="test_....py", so that pytest runs it'
        raise WrongBlockError(msg)
    # The blank lines put the block where it is on its page, for the lines of a traceback.
    padded = "\n" * (block.line - 1) + block.source
    linecache.checkcache(str(page))
    code = compile(padded, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(_awaited(code, namespace))
        else:
            # Not inside of a running loop: a whole program of a block calls asyncio.run itself.
            exec(code, namespace)
    said = tuple(_SAYS.findall(block.source))
    lines = printed.getvalue().splitlines()
    if said:
        compare(said, lines)
    if block.expected is not None:
        compare(block.expected, lines)


async def _awaited(code: types.CodeType, namespace: dict[str, Any]) -> None:
    await eval(code, namespace)


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _is_test(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return function.name.startswith("test_")


def _write(block: Block) -> None:
    assert block.title is not None
    path = Path(block.title)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.source, encoding="utf-8")
    compile(block.source, block.title, "exec", dont_inherit=True)
    if path.name.startswith("test_"):
        _pytest(path)


def _pytest(path: Path) -> None:
    settings = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
    options = ["-q", "-p", "no:cacheprovider", *settings, "-W", "error", "--rootdir", "."]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(path)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([".", *filter(None, [os.environ.get("PYTHONPATH")])]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or " passed" not in done.stdout:
        msg = f"pytest {path}:\n{done.stdout}{done.stderr}"
        raise WrongBlockError(msg)


def _at(block: Block, addresses: Mapping[str, str]) -> Block:
    source = block.source
    for local, address in addresses.items():
        source = source.replace(local, address)
    return Block(block.language, block.title, source, block.line, block.expected)


def compare(said: Sequence[str], printed: Sequence[str]) -> None:
    """Refuse a difference between what a page says and what was printed.

    Raises:
        WrongBlockError: showing both.
    """
    same = len(said) == len(printed) and all(map(_fits, said, printed))
    if not same:
        msg = "\n".join(
            [
                "the page says",
                *(f"    {line}" for line in said),
                "and printed was",
                *(f"    {line}" for line in printed),
            ]
        )
        raise WrongBlockError(msg)


def _fits(said: str, printed: str) -> bool:
    pattern = ".*".join(map(re.escape, said.rstrip().split("...")))
    return re.fullmatch(pattern, printed.rstrip()) is not None


def _log_to_stderr() -> None:
    # Log lines are no output of a block; pages that are about the log configure it themselves.
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
