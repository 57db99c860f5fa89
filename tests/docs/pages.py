"""The pages of the documentation, and the code blocks on them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sybil import Document
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"

PAGES = [README, *sorted(DOCS.rglob("*.md"))]


@dataclass(frozen=True)
class Server:
    """A server that the blocks of some pages connect to.

    Attributes:
        marker: stands on those pages.
        local: the address that they name.
        variable: of the environment, with the address of a server for tests, which they are given instead.
        fixture: starts that server.
    """

    marker: str
    local: str
    variable: str
    fixture: str


SERVERS = (
    Server("<!-- docs-test: nats-server -->", "nats://localhost:4222", "DOCS_NATS_URL", "nats_server_shared"),
    Server(
        "<!-- docs-test: valkey-server -->",
        "redis://localhost:6379/0",
        "DOCS_REDIS_URL",
        "valkey_server_shared",
    ),
)

_INFO = re.compile(r"(?P<info>[^\n]*)\n")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fenced code block.

    Attributes:
        language: the first word after the fence.
        title: a file's name, for a block that is a file of its own.
        source: what is inside.
        line: where its first line is on the page, from 1.
        expected: the lines of the `text` block right after it, `None` where there is none.
    """

    language: str
    title: str | None
    source: str
    line: int
    expected: tuple[str, ...] | None = None


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def blocks_of(page: Path) -> list[Block]:
    """Return a page's blocks in their order; a block inside another one is part of that."""
    text = page.read_text(encoding="utf-8")
    document = Document(text, str(page))
    regions = sorted(RawFencedCodeBlockLexer(_INFO)(document), key=lambda region: region.start)
    found: list[Block] = []
    end = 0
    for region in regions:
        if region.start < end:
            continue
        info = region.lexemes["info"].strip()
        between = text[end : region.start]
        end = region.end
        title = _TITLE.search(info)
        source = str(region.lexemes["source"])
        block = Block(
            info.split()[0].strip("{}.") if info else "",
            title.group(1) if title else None,
            source,
            text.count("\n", 0, region.start) + 2,
        )
        if block.language == "text" and not between.strip() and found and found[-1].language == "python":
            before = found[-1]
            found[-1] = Block(
                before.language, before.title, before.source, before.line, tuple(source.splitlines())
            )
        found.append(block)
    return found
