"""Compact ids: 16 bytes for Catga's own message ids, the text of any other."""

from __future__ import annotations


def pack_id(text: str) -> str | bytes:
    """Return an id in its stored form.

    Args:
        text: The id.

    Returns:
        16 bytes for 32 lower-case hexadecimal digits, which Catga's own ids are; else the text.
    """
    if len(text) == 32:
        try:
            packed = bytes.fromhex(text)
        except ValueError:
            return text
        # fromhex accepts upper case and spaces too, which would not come back.
        if packed.hex() == text:
            return packed
    return text


def unpack_id(stored: str | bytes) -> str:
    """Return an id from its stored form."""
    return stored.hex() if isinstance(stored, bytes) else stored
