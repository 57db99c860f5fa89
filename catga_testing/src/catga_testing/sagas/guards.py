"""The functions that a saga's code must not call between its steps, and their replacements."""

from __future__ import annotations

import asyncio
import builtins
import io
import os
import random
import secrets
import socket
import sqlite3
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Mapping
from typing import Any, Final

_TIME: Final = "saga.now()"
_RANDOM: Final = "saga.random()"
_UUID: Final = "saga.uuid()"
_SLEEP: Final = "await saga.sleep(...)"
_TASK: Final = "saga.gather(...)"
_LIMIT: Final = "timeout= of the step, or of saga.wait_for(...)"
_STEP: Final = "a step: await saga.step(name, ...)"


def _named(owner: Any, names: str, instead: str) -> dict[tuple[Any, str], str]:
    return {(owner, name): instead for name in names.split() if hasattr(owner, name)}


def _methods_of_random() -> str:
    # The functions of the module are methods of one hidden object, which is seeded by the system.
    return " ".join(
        name
        for name in random.__all__
        if isinstance(getattr(getattr(random, name), "__self__", None), random.Random)
    )


REFUSED: Final[Mapping[tuple[Any, str], str]] = {
    **_named(
        time,
        "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns localtime gmtime ctime strftime",
        _TIME,
    ),
    **_named(time, "sleep", _SLEEP),
    **_named(random, _methods_of_random(), _RANDOM),
    **_named(secrets, "token_bytes token_hex token_urlsafe choice randbelow randbits", _RANDOM),
    **_named(os, "urandom", _RANDOM),
    **_named(uuid, "uuid1 uuid4 uuid6 uuid7", _UUID),
    **_named(asyncio, "sleep", _SLEEP),
    **_named(asyncio, "create_task ensure_future gather wait as_completed to_thread", _TASK),
    **_named(asyncio, "timeout timeout_at wait_for", _LIMIT),
    **_named(asyncio.TaskGroup, "create_task", _TASK),
    **_named(asyncio.BaseEventLoop, "create_task run_in_executor", _TASK),
    **_named(asyncio, "open_connection create_subprocess_exec create_subprocess_shell", _STEP),
    **_named(socket.socket, "connect connect_ex sendto bind", _STEP),
    **_named(socket, "create_connection getaddrinfo", _STEP),
    **_named(builtins, "open input", _STEP),
    **_named(io, "open", _STEP),
    **_named(os, "open remove unlink rename replace mkdir rmdir system", _STEP),
    **_named(sqlite3, "connect", _STEP),
    **_named(subprocess, "run call check_call check_output Popen", _STEP),
    **_named(urllib.request, "urlopen", _STEP),
}
"""A function, by its owner, and its replacement."""
