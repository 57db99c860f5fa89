"""A test's nats-server never outlives the test run."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.testing.nats_support import is_gone, refuses_tcp

pytestmark = pytest.mark.nats


async def test_a_closed_server_leaves_no_process_and_no_directory() -> None:
    server = NatsServer()
    await server.start()
    pid, directory = server.pid, server.log.parent

    await server.close()
    await server.close()

    assert is_gone(pid)
    assert not directory.exists()


_PARENT = """
import sys
from catga_testing.servers import NatsServer
server = NatsServer(jetstream=True)
server.blocking.start()
if sys.argv[1] == "restart":
    server.blocking.kill()
    server.blocking.restart()
print(server.pid, server.log.parent, flush=True)
sys.stdin.readline()
"""


def _start_parent(how: str) -> tuple[subprocess.Popen[str], int, Path]:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    pid, _, directory = parent.stdout.readline().strip().partition(" ")
    return parent, int(pid), Path(directory)


@pytest.mark.parametrize("how", ["start", "restart"])
async def test_the_server_ends_when_its_parent_is_killed(how: str) -> None:
    parent, pid, directory = await asyncio.to_thread(_start_parent, how)
    with parent:
        assert not is_gone(pid)

        parent.kill()

        await eventually(lambda: is_gone(pid))
        await eventually(lambda: not directory.exists(), message="the directory was removed")


async def test_the_server_ends_when_its_parent_ends_without_closing_it() -> None:
    parent, pid, directory = await asyncio.to_thread(_start_parent, "start")
    with parent:
        code = (await asyncio.to_thread(parent.communicate, "\n"), parent.returncode)[1]

    assert code == 0
    assert is_gone(pid)
    assert not directory.exists()


async def test_a_server_started_in_a_thread_outlives_the_thread() -> None:
    server = NatsServer()
    try:
        await asyncio.to_thread(lambda: None)
        loop = asyncio.get_running_loop()
        await server.start()
        await loop.shutdown_default_executor()  # the threads are gone now

        assert not await refuses_tcp(server.port)
        assert server.is_running
    finally:
        server.blocking.close()
