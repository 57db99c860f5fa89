"""Every Python block of the documentation runs, and prints what its page says."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, SERVERS, blocks_of, name_of

WITH_PYTHON = [page for page in PAGES if any(block.language in {"python", "py"} for block in blocks_of(page))]


def run(
    page: Path, directory: Path, servers: Mapping[str, str] | None = None, *, within: float = 50
) -> tuple[int, str]:
    """Run a page and return its exit code and what it had to say; processes that it leaves behind are ended."""
    environment = {**os.environ, "NO_COLOR": "1", **(servers or {})}
    command = [sys.executable, "-W", "error", "-m", "tests.docs.run_page", str(page), str(directory)]
    # A file and no pipe: a process the page has started would keep a pipe open, and reading it would never end.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            output.write(f"\n{name_of(page)} did not end within {within} s\n")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return process.returncode, output.read()


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_the_blocks_of_a_page_do_what_it_says(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    text = page.read_text(encoding="utf-8")
    wanted = [server for server in SERVERS if server.marker in text]
    servers = {server.variable: request.getfixturevalue(server.fixture).url for server in wanted}
    code, output = run(page, tmp_path, servers)
    assert code == 0, output


def written(directory: Path, text: str) -> Path:
    page = directory / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\n1 / 0\n```", "ZeroDivisionError"),
        ("```python\nprint(2)  # -> 3\n```", "and printed was\n    2"),
        ("```python\nprint(2)\n```\n\n```text\n3\n```", "and printed was\n    2"),
        ("```python\nprint(2)  # -> 2\nprint(3)\n```", "and printed was\n    2\n    3"),
        ("```python\nx = 1  # -> 1\n```", "and printed was\n"),
        (
            "```python\nimport asyncio\nawait asyncio.sleep(0)\nraise ValueError('late')\n```",
            "ValueError: late",
        ),
        ("```python\nimport warnings\nwarnings.warn('old')\n```", "UserWarning: old"),
        ("```python\ndef test_nothing(): ...\n```", "would never run"),
        ('```python title="test_it.py"\ndef test_it():\n    assert 1 == 2\n```', "assert 1 == 2"),
        ('```python title="broken.py"\ndef broken(:\n```', "SyntaxError"),
    ],
)
def test_a_block_that_is_wrong_fails_its_page(tmp_path: Path, text: str, complaint: str) -> None:
    code, output = run(written(tmp_path, f"# Page\n\n```python\nx = 1\n```\n\n{text}\n"), tmp_path)
    assert code == 1
    assert complaint in output
    assert "page.md:8: this block fails" in output


def test_blocks_build_on_each_other_and_on_files_and_may_await(tmp_path: Path) -> None:
    text = """
```python title="numbers_of_mine.py"
def two() -> int:
    return 2
```

```python
import asyncio
from numbers_of_mine import two

async def three() -> int:
    await asyncio.sleep(0)
    return two() + 1
```

```python
print(await three())  # -> 3
print("a long line")  # -> a ... line
```

```python
asyncio.run(three())
for number in (1, 2):
    print(number)
```

```text
1
2
```

```python title="test_numbers.py"
from numbers_of_mine import two

async def test_two():
    assert two() == 2
```
"""
    code, output = run(written(tmp_path, text), tmp_path)
    assert code == 0, output
    assert "5 blocks" in output


def test_a_page_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    text = """
```python title="child.py"
import fcntl, time
file = open("lock", "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
```

```python
import subprocess, sys
child = subprocess.Popen([sys.executable, "child.py"], stdout=subprocess.PIPE)
child.stdout.readline()
```

```python
import threading
threading.Event().wait()
```
"""
    code, output = run(written(tmp_path, text), tmp_path, within=3)
    assert code != 0
    assert "did not end within 3 s" in output
    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # it is free as soon as the child is gone
