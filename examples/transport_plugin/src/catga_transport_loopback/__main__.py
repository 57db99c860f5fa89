"""Runs the hub: `python -m catga_transport_loopback --port 7000`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from .hub import Hub


async def serve(host: str, port: int) -> None:
    async with Hub(host, port) as hub:
        print(f"listening on {hub.url}", flush=True)
        await asyncio.Event().wait()


parser = argparse.ArgumentParser(
    prog="catga_transport_loopback", description="The hub of the loopback transport."
)
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=7000)
given = parser.parse_args()
with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(serve(given.host, given.port))
