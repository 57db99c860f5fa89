"""Links between pages lead somewhere, and so do the names of tests that pages give as evidence."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, blocks_of, name_of

_LINK = re.compile(r"(?<!\!)\[[^\]\n]*(?:\n[^\]\n]*)?\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)")
_TEST = re.compile(r"`(test_\w+)`")
_ELSEWHERE = ("http://", "https://", "mailto:")


def prose_of(page: Path) -> str:
    """Return a page without its code blocks, whose brackets are no links."""
    text = page.read_text(encoding="utf-8")
    for block in blocks_of(page):
        text = text.replace(block.source, "\n", 1)
    return re.sub(r"`[^`\n]*`", lambda code: code.group() if _TEST.fullmatch(code.group()) else "", text)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as mkdocs and GitHub make them."""
    headings = re.findall(r"^#{1,6} (.+?)\s*#*$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower() for heading in headings)
    return {re.sub(r"[\s]+", "-", heading) for heading in plain}


def broken_links(page: Path) -> list[str]:
    broken: list[str] = []
    for target in _LINK.findall(prose_of(page)):
        if target.startswith(_ELSEWHERE):
            continue
        path, _, anchor = unquote(target).partition("#")
        linked = (page.parent / path).resolve() if path else page
        # An absolute path works on no page, and what is outside of docs/ is not part of the site.
        outside = page.is_relative_to(DOCS) and not linked.is_relative_to(DOCS)
        lost = anchor and linked.suffix == ".md" and linked.is_file() and anchor not in anchors_of(linked)
        if path.startswith("/") or not linked.exists() or outside or lost:
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A heading: `code` and more\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n[a](other.md) [b](other.md#a-heading-code-and-more) [c](#page) [d](https://example.org)\n"
        "[e](none.md) [f](other.md#none) [g](#none) [h](/other.md)\n"
        "```python\nx = y[0](z)\n```\n",
        encoding="utf-8",
    )
    assert broken_links(page) == ["none.md", "other.md#none", "#none", "/other.md"]


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    missing = [
        name_of(page) for page in DOCS.rglob("*.md") if page.relative_to(DOCS).as_posix() not in navigation
    ]
    assert missing == []


def existing_tests() -> set[str]:
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "catga_testing" / "src").rglob("*.py")]
    found: set[str] = set()
    for file in files:
        found.update(re.findall(r"def (test_\w+)\(", file.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize(
    "page", [page for page in PAGES if _TEST.search(page.read_text(encoding="utf-8"))], ids=name_of
)
def test_a_test_that_is_named_as_evidence_exists(page: Path) -> None:
    named = set(_TEST.findall(prose_of(page))) - {"test_host"}
    assert named - existing_tests() == set()


def test_every_promise_of_the_guarantees_names_a_test() -> None:
    text = (DOCS / "guarantees.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| promise \| shown by \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    promises = [row for table in tables for row in table.splitlines()]
    assert len(promises) > 100
    assert [row for row in promises if not _TEST.search(row)] == []
