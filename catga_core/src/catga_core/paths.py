"""Paths as the operating system takes them, whatever the locale."""

from __future__ import annotations

import os
import sys


def native_path(path: str) -> str:
    """Return a path that functions of the operating system take.

    With the locale C and without UTF-8 mode, Python encodes paths as ASCII and refuses other characters. Files are named in
    UTF-8 on every current system, so those are its bytes then.

    Args:
        path: The path, with any characters.

    Returns:
        The path unchanged where Python can encode it.
    """
    try:
        path.encode(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
    except UnicodeEncodeError:
        return os.fsdecode(path.encode("utf-8", "surrogateescape"))
    return path
