"""A process that writes units of work until it is killed: `python writer.py FOLDER`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from catga_store_folder import folder_stores

from catga_core import MessageContext, SystemClock
from catga_core.interfaces import CheckpointStore, DeadLetter, DeadLetterSource, DeadLetterStore, InboxStore


def letter(number: int) -> DeadLetter:
    context = MessageContext(f"m-{number}", f"m-{number}")
    return DeadLetter(
        f"l-{number}",
        DeadLetterSource.HANDLER,
        "SendEmail",
        "mail.Told",
        1,
        "json",
        b"x" * 2000,
        context,
        code="HANDLER_FAILED",
        message="no such address",
        traceback=None,
        attempts=1,
        first_failed_at=0.0,
        last_failed_at=0.0,
    )


async def write(path: Path) -> None:
    stores = folder_stores(path, SystemClock())
    await stores.storage.start()
    found = await stores[CheckpointStore].load("numbers")
    number = 0 if found is None else found.position
    while True:
        number += 1
        async with stores.storage.unit_of_work():
            await stores[CheckpointStore].save("numbers", number, expected_position=number - 1)
            assert await stores[InboxStore].record(f"m-{number}", "SendEmail")
            await stores[DeadLetterStore].add(letter(number))
        # The word of it goes out when it is committed, and not before.
        print(number, flush=True)


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1])))
