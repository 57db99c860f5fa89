"""A handler that ends its own process: the caller is answered first, and the process ends as it should."""

from __future__ import annotations

import asyncio
import sys
import textwrap

import pytest

from catga_core import CatgaOptions, Command, add_catga, message
from catga_nats import add_nats_catga
from catga_testing.servers import NatsServer

pytestmark = pytest.mark.nats


@message(name="test.exit")
class Exit(Command[int]):
    waits: bool


SERVICE = textwrap.dedent(
    """
    import asyncio, sys
    from catga_core import CatgaOptions, Command, add_catga, message
    from catga_nats import add_nats_catga

    @message(name="test.exit")
    class Exit(Command[int]):
        waits: bool

    async def exits(command: Exit) -> int:
        if command.waits:
            await asyncio.sleep(0.01)
        sys.exit(7)

    async def main() -> None:
        catga = add_catga(CatgaOptions(service_name="exits"))
        add_nats_catga(catga, sys.argv[1])
        catga.add_handlers(exits)
        async with catga.running():
            print("ready", flush=True)
            await asyncio.sleep(30)

    asyncio.run(main())
    """
)


@pytest.mark.parametrize("waits", [True, False])
async def test_handler_that_exits_its_process_is_answered_first(
    nats_server_shared: NatsServer, waits: bool
) -> None:
    service = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVICE,
        nats_server_shared.url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert service.stdout is not None
    try:
        async with asyncio.timeout(30):
            while b"ready" not in (line := await service.stdout.readline()):
                assert line
        catga = add_catga(CatgaOptions(service_name="caller"))
        add_nats_catga(catga, nats_server_shared.url)
        async with catga.running() as app:
            async with asyncio.timeout(10):
                result = await app.mediator.send(Exit(waits), timeout=20)
        async with asyncio.timeout(20):
            code = await service.wait()
    finally:
        if service.returncode is None:
            service.kill()
            await service.wait()

    assert (result.error.code, result.error.details["exception"]) == ("HANDLER_FAILED", "SystemExit")
    assert code == 7
