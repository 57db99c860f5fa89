"""Several processes take payments and relay receipts: idempotent commands, outbox and inbox in units of work."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence

from catga_core import CatgaMediator
from catga_core.reliability import DeadLetterQueue
from tests.faults.histories.history import Entry
from tests.faults.histories.workload import Found, Task, Workload
from tests.faults.kills.application import compose
from tests.faults.kills.checks import look
from tests.faults.kills.domain import Pay

_PAUSE = 0.01


async def work(task: Task) -> None:
    """Take payments and relay receipts until stopped."""
    async with (
        compose(task.url, working=True, dead_letters=True).running() as app,
        asyncio.TaskGroup() as group,
    ):
        for lane in range(2):
            group.create_task(_pay(app.mediator, task, lane))


async def _pay(mediator: CatgaMediator, task: Task, lane: int) -> None:
    """Send one payment after the other until each is acknowledged, and some of them once more."""
    chance, record = task.chance, task.record
    # Each process begins with payments that others have made, or are making, and must get their answers.
    for number in itertools.count(lane, 2):
        while not task.stop.is_set():
            result = await mediator.send(Pay(number, 1 + number % 9))
            if result.is_success:
                record("paid", number=number, answer=result.value)
                if chance.random() < 0.9:
                    break
            await asyncio.sleep(chance.random() * _PAUSE)
        if task.stop.is_set():
            return


async def _replay(url: str) -> int:
    """Replay the events whose handler failed: a dead letter was written for each, and they are not handled again by themselves."""
    async with compose(url, working=True, dead_letters=True).running() as app:
        report = await app.get(DeadLetterQueue).replay_all()
        for error in report.failed.values():
            raise error
        return report.succeeded


async def check(url: str, history: Sequence[Entry]) -> Found:
    """Let one more process finish what was left, then compare the stores with what was acknowledged."""
    answers: dict[int, int] = {}
    said: list[str] = []
    for entry in history:
        if entry.kind == "paid":
            number, answer = entry["number"], entry["answer"]
            if answers.setdefault(number, answer) != answer:
                said.append(f"broken: payment {number} was answered {answers[number]}, and then {answer}")
    said += [f"paid {number} {answer}" for number, answer in answers.items()]
    replayed = await _replay(url)
    looked = await look(url, said, settle=True)
    counts = Counter(
        {
            "dead letters replayed": replayed,
            "commands acknowledged": looked.commands_acknowledged,
            "events relayed": looked.events_relayed,
            "events projected": looked.events_projected,
        }
    )
    return Found(looked.problems, counts)


OUTBOX = Workload(
    name="outbox",
    places=("sqlite", "redis"),
    roles=("pay-1", "pay-2", "pay-3"),
    work=work,
    check=check,
)
