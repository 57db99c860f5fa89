"""Ids as sqlite3 binds them fastest."""

from __future__ import annotations


def bound_id(text: str) -> str | bytearray:
    """Return an id as `pack_id` does, in the type that sqlite3 binds fastest.

    sqlite3 looks for an adapter of every value that is not a str, int, float or bytearray, which takes longer than
    writing an id.

    Args:
        text: The id.

    Returns:
        The same bytes or text as `pack_id`.
    """
    if len(text) == 32:
        try:
            packed = bytearray.fromhex(text)
        except ValueError:
            return text
        # fromhex accepts spaces and upper case too, which would not come back.
        if len(packed) == 16 and (text.islower() or text.isdigit()):
            return packed
    return text


def optional_id(text: str | None) -> str | bytearray | None:
    """Return an id as `bound_id` does, `None` for none.

    Args:
        text: The id, if there is one.

    Returns:
        What to bind.
    """
    return None if text is None else bound_id(text)
