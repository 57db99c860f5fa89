"""A stop that meets services which cancel themselves, and processes with more than one container."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from catga_core import CatgaOptions, Command, add_catga
from tests.core.support import run_program

closed: list[str] = []


class Ping(Command[int]):
    pass


async def pong(message: Ping) -> int:
    return 1


class Worker:
    """Stops in the usual way: it cancels its task and awaits it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(asyncio.Event().wait())

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await self._task


class Resource:
    async def aclose(self) -> None:
        closed.append("resource")


class Cancelled:
    async def aclose(self) -> None:
        raise asyncio.CancelledError


@pytest.fixture(autouse=True)
def nothing_closed() -> None:
    closed.clear()


async def test_a_service_that_awaits_the_task_it_has_cancelled_stops_as_any_other():
    catga = add_catga()
    catga.add_singleton(Resource)
    catga.add_hosted(Worker)
    catga.add_handlers(pong)

    async with catga.running():
        pass

    assert closed == ["resource"]
    async with catga.running() as again:
        assert (await again.mediator.send(Ping())).unwrap() == 1


async def test_a_closer_that_raises_cancelled_error_keeps_none_of_the_others_open():
    catga = add_catga()
    catga.add_singleton(Resource)
    catga.add_singleton(Cancelled)

    async with catga.running():
        pass

    assert closed == ["resource"]


async def test_a_stop_that_fails_leaves_a_container_that_can_run_again():
    class Fails:
        async def start(self) -> None:
            return None

        async def stop(self) -> None:
            raise OSError("still mounted")

    catga = add_catga(CatgaOptions(service_name="files"))
    catga.add_hosted(Fails)
    for _ in range(2):
        with pytest.raises(ExceptionGroup, match=r"files stopped.*1"):
            async with catga.running():
                pass


def test_one_signal_ends_every_container_of_the_loop():
    output = run_program(
        """
        import asyncio, os, signal
        from catga_core import CatgaOptions, add_catga

        async def main():
            containers = [add_catga(CatgaOptions(service_name=name)) for name in ("one", "two")]
            runs = [asyncio.ensure_future(each.run()) for each in containers]
            while not all(each.health()["mediator"].status == "healthy" for each in containers):
                await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(5):
                await asyncio.gather(*runs)
            print("both ended")

        asyncio.run(main())
        """
    )

    assert "both ended" in output


async def test_an_override_that_comes_while_another_is_being_made_fails_no_message():
    class Gate:
        def __init__(self) -> None:
            self.reached = asyncio.Event()
            self.open = asyncio.Event()

    gate = Gate()

    class Pool:
        pass

    class Users:
        def __init__(self, pool: Pool) -> None:
            self.pool = pool

    class Orders:
        def __init__(self, users: Users, pool: Pool) -> None:
            self.users = users

    async def slow_pool() -> Pool:
        gate.reached.set()
        await gate.open.wait()
        return Pool()

    async def quick_pool() -> Pool:
        return Pool()

    class Count(Command[int]):
        pass

    async def count(message: Count, orders: Orders) -> int:
        return 1

    catga = add_catga()
    catga.add_singleton(Pool)
    catga.add_singleton(Users)
    catga.add_singleton(Orders)
    catga.add_handlers(count)
    async with catga.running() as app:
        first = catga.override(Pool, slow_pool)
        sending = asyncio.ensure_future(app.mediator.send(Count()))
        await gate.reached.wait()
        second = catga.override(Pool, quick_pool)
        gate.open.set()
        result = await sending
        with suppress(Exception):
            second.restore()
            first.restore()

    assert result.unwrap() == 1
