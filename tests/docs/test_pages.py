"""Every Python block of the documentation runs, and prints what its page says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import NEEDS_NATS, PAGES, ROOT, blocks_of, name_of

WITH_PYTHON = [page for page in PAGES if any(block.language in {"python", "py"} for block in blocks_of(page))]


def run(page: Path, directory: Path, nats: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1"}
    if nats is not None:
        environment["DOCS_NATS_URL"] = nats
    command = [sys.executable, "-W", "error", "-m", "tests.docs.run_page", str(page), str(directory)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50, check=False
    )


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_the_blocks_of_a_page_do_what_it_says(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    wants_server = NEEDS_NATS in page.read_text(encoding="utf-8")
    nats = request.getfixturevalue("nats_server_shared").url if wants_server else None
    done = run(page, tmp_path, nats)
    assert done.returncode == 0, done.stderr


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
        ("```python\nimport asyncio\nawait asyncio.sleep(0)\nraise ValueError('late')\n```", "ValueError: late"),
        ("```python\nimport warnings\nwarnings.warn('old')\n```", "UserWarning: old"),
        ("```python\ndef test_nothing(): ...\n```", "would never run"),
        ('```python title="test_it.py"\ndef test_it():\n    assert 1 == 2\n```', "assert 1 == 2"),
        ('```python title="broken.py"\ndef broken(:\n```', "SyntaxError"),
    ],
)
def test_a_block_that_is_wrong_fails_its_page(tmp_path: Path, text: str, complaint: str) -> None:
    done = run(written(tmp_path, f"# Page\n\n```python\nx = 1\n```\n\n{text}\n"), tmp_path)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "page.md:8: this block fails" in done.stderr


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
    done = run(written(tmp_path, text), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "5 blocks" in done.stderr
