"""The two runs: one process without any server, and services that find each other over NATS."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from catga_core import CatgaContainer, CatgaError

from . import fleet
from .calls import AT_THE_EDGE, IN_PROCESS
from .compositions import client
from .driver import Driver
from .report import Report
from .show import Narrator
from .source import open_source
from .stores import Store

if TYPE_CHECKING:
    from catga_testing.servers import NatsServer


class Plan(msgspec.Struct, frozen=True):
    """What to run, and what to break on the way.

    Args:
        source: A file, or `-`.
        concurrency: How many orders may be under way at the same time.
        kill_replica: Whether one of the payments replicas is to crash.
        kill_orders: Whether the orders service is to crash and come back.
        kill_notifications: Whether the notifications service is to crash, and to come back at the end.
        restart_nats: Whether the server is to crash and come back.
        store: Where state is kept.
        crash_after: After how many decisions this very process kills itself, `None` for never.
    """

    source: str
    concurrency: int
    kill_replica: bool
    kill_orders: bool
    kill_notifications: bool
    restart_nats: bool
    store: Store
    crash_after: int | None


async def run_one_process(plan: Plan, narrator: Narrator, catga: CatgaContainer) -> Report:
    """Run the orders through handlers in this very process."""
    narrator.say(f"one process: every module in one container, no server; state in {plan.store}")
    async with catga.running() as app:
        driver = await Driver.begin(app.mediator, IN_PROCESS, concurrency=plan.concurrency)
        drive = _drive(driver, plan, narrator, "One process")
        if plan.crash_after is None:
            return await drive
        report = await _beside(drive, _crash(driver, plan.crash_after, plan.store, narrator))
        narrator.say(
            f"there were not {plan.crash_after:,} decisions and an order after them: nothing was killed"
        )
        return report


async def run_services(plan: Plan, narrator: Narrator, *, lines: int) -> Report:
    """Run the orders through services in processes of their own.

    Args:
        plan: What to run.
        narrator: Who tells of it.
        lines: How many lines there will be, so that it is known when to break something.

    Raises:
        FleetError: When the server or a service does not start, or ends by itself.
        CatgaError: When a module does not tell its totals.
    """
    # Here, because the one process needs none of it.
    try:
        from catga_testing.servers import NatsServer, ServerError
    except ImportError:
        raise fleet.FleetError('services need a server: pip install "catga-testing[nats]"') from None

    try:
        server = NatsServer(jetstream=True, store_dir=plan.store.streams)
        async with server, fleet.running(server.url, plan.store) as services:
            narrator.say(f"services over {server.url}: orders, notifications, inventory, payments twice")
            async with client(server.url).running() as app:
                driver = await Driver.begin(app.mediator, AT_THE_EDGE, concurrency=plan.concurrency)
                trouble = Trouble(plan, narrator, driver, services, server)
                drive = _drive(driver, plan, narrator, "Services over NATS", trouble)
                try:
                    report = await _beside(drive, trouble.happens(lines), services.watch())
                except CatgaError:
                    print(services.logs(), file=sys.stderr)
                    raise
            if report.mismatches:
                print(services.logs(), file=sys.stderr)
            return report
    except ServerError as error:
        raise fleet.FleetError(str(error)) from error


async def _crash(driver: Driver, after: int, store: Store, narrator: Narrator) -> None:
    await driver.tally.decided(after)
    await driver.in_the_middle()  # with one at a time: not between two orders
    narrator.say(
        f"after {after:,} decisions, with {driver.under_way:,} orders under way: SIGKILL to this process\n"
        f"  to go on: run it again with {store.option}, without --crash-after"
    )
    # As a power cut or the kernel would: nothing is closed, flushed or told.
    os.kill(os.getpid(), signal.SIGKILL)


class Trouble:
    """What happens to the services while they work.

    Args:
        plan: What to break.
        narrator: Who tells of it.
        driver: Whose orders are under way.
        services: What can be killed.
        server: The NATS server.
    """

    def __init__(
        self, plan: Plan, narrator: Narrator, driver: Driver, services: fleet.Fleet, server: NatsServer
    ) -> None:
        self.broken: list[str] = []
        self._plan = plan
        self._narrator = narrator
        self._driver = driver
        self._tally = driver.tally
        self._services = services
        self._server = server

    async def happens(self, lines: int) -> None:
        """Break what is planned, one after the other.

        Args:
            lines: How many lines there will be.
        """
        if self._plan.kill_notifications:
            await self._tally.reached(lines // 5)
            await self._services["notifications"].kill()
            self._say(f"after {self._tally.done:,} orders: notifications killed (SIGKILL)")
        if self._plan.kill_replica:
            await self._tally.reached(lines * 2 // 5)
            await self._kill(self._services["payments-2"])
        if self._plan.kill_orders:
            await self._tally.reached(lines // 2)
            await self._crash(self._services["orders"])
        if self._plan.restart_nats:
            await self._tally.reached(lines * 3 // 5)
            await self._restart()

    async def ends(self) -> None:
        """Start notifications again, where it was killed, when all orders are decided."""
        notifications = self._services["notifications"]
        if notifications.killed:
            await notifications.restart()
            self._say("notifications started again, after all orders were decided")

    async def _kill(self, replica: fleet.ServiceProcess) -> None:
        # Frozen first, so that it certainly holds requests when it dies. Half of what is sent now is never answered. Those
        # under way may have been there before; as many more are not done without some of them having asked it.
        replica.freeze()
        await self._tally.reached(self._tally.done + self._plan.concurrency)
        await replica.kill()
        self._say(f"after {self._tally.done:,} orders: {replica.name} killed (SIGKILL)")

    async def _crash(self, orders: fleet.ServiceProcess) -> None:
        await orders.kill()
        self._say(f"after {self._tally.done:,} orders: {orders.name} killed (SIGKILL)")
        # What it held is sent again when the wait for an answer is over, and finds nobody.
        await self._driver.turned_away()
        await orders.restart()
        self._say(f"{orders.name} started again, after a request had found nobody there")

    async def _restart(self) -> None:
        await self._server.kill()
        self._say(f"after {self._tally.done:,} orders: nats-server killed (SIGKILL)")
        await self._server.restart()
        self._say("nats-server started again, with the events that it had kept")

    def _say(self, text: str) -> None:
        self.broken.append(text)
        self._narrator.say(text)


async def _drive(
    driver: Driver, plan: Plan, narrator: Narrator, title: str, trouble: Trouble | None = None
) -> Report:
    with open_source(plan.source) as source:
        async with narrator.following(driver.tally):
            seconds = await driver.run(source)
    if trouble is None:
        return await driver.report(title, seconds)
    await trouble.ends()
    return await driver.report(title, seconds, trouble.broken)


async def _beside(main: Coroutine[Any, Any, Report], *others: Coroutine[Any, Any, None]) -> Report:
    """Run the others until the main one ends; what goes wrong in one of them is raised at once."""
    main_task = asyncio.create_task(main)
    tasks: set[asyncio.Task[Any]] = {main_task, *(asyncio.create_task(other) for other in others)}
    waiting = tasks
    try:
        while main_task in waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        return main_task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
