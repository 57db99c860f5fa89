"""The tutorial keeps what it promises of its files; that its blocks and tests run is tested with those of every page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import DOCS, Block, blocks_of

FILES = [block for block in blocks_of(DOCS / "tutorial.md") if block.title is not None]


def file_of(title: str) -> Block:
    (block,) = (block for block in FILES if block.title == title)
    return block


def test_no_file_changes_on_the_way_from_one_process_to_services() -> None:
    titles = [block.title for block in FILES]
    assert {"orders.py", "payments.py", "shop_messages.py", "test_shop.py"} <= set(titles)
    assert len(titles) == len(set(titles))


def test_its_tests_run_in_every_place() -> None:
    source = file_of("conftest.py").source
    assert 'params=["memory", "sqlite", "redis", "services"]' in source


def test_the_payments_without_a_url_say_what_they_need(tmp_path: Path) -> None:
    for block in FILES:
        if block.title in {
            "shop_messages.py",
            "payments.py",
            "orders.py",
            "shop_modules.py",
            "payments_service.py",
        }:
            (tmp_path / block.title).write_text(block.source, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "payments_service.py"],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "needs the URL of a NATS server" in line
