"""The timeline of a run: what happened, when, and in which process."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Moment(msgspec.Struct, frozen=True):
    """One line of a timeline.

    Args:
        at: Virtual seconds since the begin of the run.
        process: The number of the process; 0 for what happened outside of every process.
        text: What happened.
        injected: Whether it was injected.
    """

    at: float
    process: int
    text: str
    injected: bool = False


def drawn(moments: Sequence[Moment]) -> str:
    """Return a timeline as text, one line for each moment."""
    lines: list[str] = []
    for each in moments:
        place = f"process {each.process}" if each.process else "world    "
        mark = "!!" if each.injected else "  "
        lines.append(f"  {each.at:>9.3f} s  {place} {mark} {each.text}")
    return "\n".join(lines)


def brief(value: object, most: int = 80) -> str:
    """Return a value in at most so many characters."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a class of the application's
        text = f"<{type(value).__name__}>"
    return text if len(text) <= most else f"{text[: most - 3]}..."
