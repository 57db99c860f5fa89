"""The worked plugin package keeps the contract, and is found by its entry point like any other."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest
from catga_transport_loopback import Hub, LoopbackTransport

from catga_core import CatgaOptions, ConfigurationError, Query, RequestHandler, Success, add_catga
from examples.transport_plugin.tests.test_contract import TestLoopbackTransport
from examples.transport_plugin.tests.test_losses import (
    test_a_lost_hub_fails_what_waits_and_what_comes_after,
    test_a_message_that_is_too_large_fails_with_its_sender,
    test_a_process_that_dies_fails_the_requests_it_had,
    test_a_start_without_a_hub_fails_with_what_to_do,
    test_a_url_without_host_and_port_is_a_wrong_composition,
)
from tests.examples.installing import installed

# The package's own tests, run here as they stand.
__all__ = [
    "TestLoopbackTransport",
    "test_a_lost_hub_fails_what_waits_and_what_comes_after",
    "test_a_message_that_is_too_large_fails_with_its_sender",
    "test_a_process_that_dies_fails_the_requests_it_had",
    "test_a_start_without_a_hub_fails_with_what_to_do",
    "test_a_url_without_host_and_port_is_a_wrong_composition",
]

FOLDER = Path(__file__).parents[2] / "examples" / "transport_plugin"


class Add(Query[int]):
    one: int
    other: int


class AddHandler(RequestHandler[Add, int]):
    async def handle(self, message: Add) -> int:
        return message.one + message.other


async def test_a_url_with_its_scheme_is_enough_to_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(FOLDER, tmp_path, monkeypatch)
    async with Hub() as hub:
        handling = add_catga(CatgaOptions(service_name="adding", transport=hub.url))
        handling.add_handlers(AddHandler)
        asking = add_catga(CatgaOptions(service_name="asking", transport=hub.url))

        async with handling.running(), asking.running() as app:
            assert isinstance(app.transport, LoopbackTransport)
            assert await app.mediator.send(Add(1, 2)) == Success(3)


def test_without_the_package_the_scheme_is_unknown() -> None:
    with pytest.raises(ConfigurationError, match=r"catga\.transports is named 'loopback'"):
        add_catga(CatgaOptions(transport="loopback://127.0.0.1:7000"))


async def test_its_hub_runs_as_a_process_of_its_own() -> None:
    hub = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "catga_transport_loopback",
        "--port",
        "0",
        cwd=FOLDER / "src",
        stdout=asyncio.subprocess.PIPE,
    )
    assert hub.stdout is not None
    try:
        async with asyncio.timeout(20):
            said = (await hub.stdout.readline()).decode()
        found = re.search(r"loopback://\S+", said)
        assert found is not None, said
        from catga_transport_loopback import add_loopback_transport

        catga = add_catga(CatgaOptions(service_name="adding"))
        catga.add_handlers(AddHandler)
        add_loopback_transport(catga, found[0])
        async with catga.running() as app:
            assert app.health()["transport"].description.startswith("connected to the hub")
    finally:
        hub.terminate()
        await hub.communicate()
