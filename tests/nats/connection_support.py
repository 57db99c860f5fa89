"""Options and short helpers for the tests of the connection."""

from __future__ import annotations

from typing import Any

from catga_core.messages.results import Success
from tests.nats.support import send

QUICK: dict[str, Any] = {"reconnect_wait": 0.05, "reconnect_jitter": 0.02}


def state(made: Any) -> Any:
    return made.health().details["state"]


async def succeeds(sender: Any, message: Any) -> bool:
    return (await send(sender, message)).is_success


async def answer_blob(_: Any, __: Any) -> Success[bytes]:
    return Success(b"")
