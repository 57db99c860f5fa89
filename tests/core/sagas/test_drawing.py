"""Drawings of sagas: from a definition, from the source of a class, and of one that runs."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from catga_core import CatgaError, Command, Event
from catga_core.errors import ConfigurationError
from catga_core.sagas import (
    Saga,
    SagaContext,
    SagaDefinition,
    SagaState,
    SagaStatus,
    child,
    commit_point,
    parallel,
    publish,
    saga,
    saga_diff,
    saga_graph,
    sequence,
    sleep,
    step,
    wait_for,
    when,
)
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import Data, Process, Replicas


class Parcel(msgspec.Struct):
    order_id: str
    items: int = 1


class Weigh(Command[int]):
    items: int


class Unweigh(Command[None]):
    items: int


class PaidDrawn(Event):
    order_id: str


class Services:
    def charge(self) -> int:
        return 1

    def refund(self, _paid: int) -> None: ...


class Inner(Saga[Parcel, None]):
    async def execute(self, data: Parcel, saga: SagaContext) -> None:
        await saga.step("inner", lambda: None)


@saga("drawn", waits_for={PaidDrawn: lambda event: event.order_id})
class Drawn(Saga[Parcel, str]):
    services = Services()

    async def execute(self, data: Parcel, saga: SagaContext) -> str:
        async def book(what: str) -> str:
            return await saga.step(f"book {what}", lambda: what, compensate=print)

        await saga.on_compensate("mail", lambda: None)
        paid = await saga.step("charge", self.services.charge, compensate=self.services.refund)
        if data.items > 1:
            await saga.send("weigh", Weigh(data.items), compensate=lambda _: Unweigh(data.items))
        else:
            await saga.publish(PaidDrawn(data.order_id))
        await saga.gather(book("flight"), saga.step("hotel", lambda: None))
        for item in range(data.items):
            await saga.step(f"pack {item}", lambda: None)
        try:
            await saga.saga("inner", Inner, data)
        except CatgaError:
            await self._report(saga)
            raise
        await saga.wait_for(PaidDrawn, key=data.order_id, timeout=timedelta(days=3))
        await saga.sleep(timedelta(hours=1))
        await saga.commit_point()
        return f"{paid}, {await saga.step('ship', lambda: 'shipped')}"

    async def _report(self, saga: SagaContext) -> None:
        await saga.step("report", lambda: None)


DRAWN = """\
flowchart TD
    begin(["drawn"])
    n1>"mail"]
    begin --> n1
    n1u(["mail"])
    n1 -. undo .-> n1u
    n2["charge"]
    n1 --> n2
    n2u(["refund"])
    n2 -. undo .-> n2u
    n3{"data.items #gt; 1"}
    n2 --> n3
    n4["weigh: Weigh"]
    n3 -- "yes" --> n4
    n4u(["Unweigh"])
    n4 -. undo .-> n4u
    n5["publish PaidDrawn"]
    n3 -- "no" --> n5
    n6(["all of"])
    n4 --> n6
    n5 --> n6
    n8["book flight"]
    n6 --> n8
    n8u(["print"])
    n8 -. undo .-> n8u
    n9["hotel"]
    n6 --> n9
    n7(["then"])
    n8 --> n7
    n9 --> n7
    n10{"for item in range(data.items)"}
    n7 --> n10
    n11["pack {item}"]
    n10 -- "next" --> n11
    n11 --> n10
    n12(["try"])
    n10 -- "done" --> n12
    n13[["inner: Inner"]]
    n12 --> n13
    n13u(["undo inner"])
    n13 -. undo .-> n13u
    n14["report"]
    n12 -- "on CatgaError" --> n14
    fail(["fail"])
    n14 --> fail
    n15[/"wait for PaidDrawn"/]
    n13 --> n15
    n16{{"sleep timedelta(hours=1)"}}
    n15 --> n16
    n17(("commit point"))
    n16 --> n17
    n18["ship"]
    n17 --> n18
    end_(["end"])
    n18 --> end_"""


def test_a_class_is_drawn_from_its_source() -> None:
    assert saga_graph(Drawn) == DRAWN


drawn = SagaDefinition(
    "declared parcel",
    step("weigh", Weigh, compensate=Unweigh),
    parallel(
        sequence(step("a", lambda values: Weigh(1), compensate=lambda _, found: Unweigh(found)), sleep(60)),
        when(lambda values: values.data.items > 1, step("b", Weigh), otherwise=[publish("tell", PaidDrawn)]),
    ),
    wait_for(PaidDrawn, key="order_id"),
    child("inner", Inner, lambda values: values.data),
    commit_point(),
    data=Parcel,
)


DECLARED = """\
flowchart TD
    begin(["declared parcel"])
    n1["weigh: Weigh"]
    begin --> n1
    n1u(["Unweigh"])
    n1 -. undo .-> n1u
    n2(["all of"])
    n1 --> n2
    n4["a"]
    n2 --> n4
    n4u(["undo a"])
    n4 -. undo .-> n4u
    n5{{"sleep 60 s"}}
    n4 --> n5
    n6{"condition"}
    n2 --> n6
    n7["b: Weigh"]
    n6 -- "yes" --> n7
    n8["tell: PaidDrawn"]
    n6 -- "no" --> n8
    n3(["then"])
    n5 --> n3
    n7 --> n3
    n8 --> n3
    n9[/"wait for PaidDrawn"/]
    n3 --> n9
    n10[["inner: Inner"]]
    n9 --> n10
    n10u(["undo inner"])
    n10 -. undo .-> n10u
    n11(("commit point"))
    n10 --> n11
    end_(["end"])
    n11 --> end_"""


def test_a_definition_is_drawn() -> None:
    assert saga_graph(drawn) == DECLARED


def classes_of(drawing: str) -> dict[str, set[str]]:
    """Return the labels of the nodes of each class."""
    labels = dict(re.findall(r'^    (n\d+)\W+"(.*?)"', drawing, re.MULTILINE))
    found = re.findall(r"^    class (\S+) (\w+)$", drawing, re.MULTILINE)
    return {name: {labels[each] for each in ids.split(",")} for ids, name in found}


@saga("progress", waits_for={PaidDrawn: lambda event: event.order_id})
class Progress(Saga[Data, str]):
    async def execute(self, data: Data, saga: SagaContext) -> str:
        async def two(name: str) -> None:
            await saga.step(name, lambda: None)
            await saga.wait_for(PaidDrawn, key=name)

        await saga.step("charge", lambda: None, compensate=lambda _: None)
        for item in range(data.items):
            await saga.step(f"pack {item}", lambda: None, compensate=lambda _: None)
        if data.note == "gift":
            await saga.step("wrap", lambda: None)
        await saga.gather(two("a"), two("b"))
        await saga.step("ship", self.ship)
        await saga.sleep(1000)
        return "done"

    async def ship(self) -> None:
        raise CatgaError("no", code="NO", retryable=False)


async def drawn_of(process: Process) -> str:
    status = await process.executor.status("progress-1")
    # Reads a source file.
    return await asyncio.to_thread(saga_graph, Progress, status)


async def test_a_running_saga_shows_what_is_done_current_and_remaining(replicas: Replicas) -> None:
    process = await replicas.start(Progress)
    await process.executor.start("progress-1", Data(items=2), Progress)

    async def waits() -> bool:
        return (await process.executor.status("progress-1")).state is SagaState.WAITING

    await eventually(waits)
    await process.app.mediator.publish(PaidDrawn("a"))

    async def has_received() -> bool:
        return "event" in {each.kind for each in (await process.executor.status("progress-1")).journal}

    await eventually(has_received)
    await eventually(waits)

    drawing = await drawn_of(process)
    assert drawing.startswith(await asyncio.to_thread(saga_graph, Progress))
    assert classes_of(drawing) == {
        "done": {"charge", "pack {item}", "a", "b", "wait for PaidDrawn"},
        "current": {"wait for PaidDrawn"},
        "remaining": {"wrap", "ship", "sleep 1000"},
    }


async def test_an_ended_saga_shows_what_failed_and_what_is_compensated(replicas: Replicas) -> None:
    process = await replicas.start(Progress)
    await process.executor.start("progress-1", Data(items=2, note="gift"), Progress)
    for name in ("a", "b"):
        await process.app.mediator.publish(PaidDrawn(name))
    await process.executor.result("progress-1", timeout=5)

    assert classes_of(await drawn_of(process)) == {
        "done": {"wrap", "a", "b", "wait for PaidDrawn"},
        "failed": {"ship"},
        "compensated": {"charge", "pack {item}"},
    }


def test_a_saga_that_has_recorded_nothing_is_at_its_first_step() -> None:
    status = SagaStatus(
        "progress-1", "progress", 1, SagaState.RUNNING, (), None, False, None, None, 0, "", 0, 0, None
    )

    assert classes_of(saga_graph(Progress, status)) == {
        "current": {"charge"},
        "remaining": {"pack {item}", "wrap", "a", "b", "wait for PaidDrawn", "ship", "sleep 1000"},
    }


def test_what_differs_between_two_versions_is_shown() -> None:
    first = SagaDefinition("trip", step("a", Weigh), step("b", Weigh), data=Parcel)
    second = SagaDefinition("trip", step("a", Weigh), sleep(60), step("c", Weigh), data=Parcel)

    assert saga_diff(first, second) == ("  step a: Weigh\n+ sleep 60 s\n- step b: Weigh\n+ step c: Weigh")
    assert saga_diff(first, first) == ""


def test_code_of_many_kinds_is_drawn() -> None:
    assert saga_diff(Nothing, Kinds) == KINDS


class Nothing(Saga[Parcel, None]):
    async def execute(self, data: Parcel, saga: SagaContext) -> None: ...


class Kinds(Saga[Parcel, None]):
    async def execute(self, data: Parcel, ctx: SagaContext, /) -> None:
        async with open_connection() as connection:
            await ctx.step(connection, lambda: ctx.uuid())
        match await ctx.step("kind", lambda: data.items):
            case 1:
                await ctx.step("one", lambda: None)
            case _:
                await ctx.step("other", lambda: None)
        while await ctx.step("again", lambda: False):
            await ctx.sleep(until=ctx.now())
        found = [await ctx.step(f"item {item}", lambda: 1) for item in range(data.items)]
        paid = await ctx.step("paid", lambda: 1) if found else await ctx.step("free", lambda: 0)
        await ctx.gather(*[self.part(ctx, f"part {number}") for number in range(paid)])
        await ctx.saga("child", Inner, data, compensate=False)
        await ctx.publish(PaidDrawn("a"), name="tell")
        if ctx.patched("new"):
            await ctx.continue_as_new(data)
        try:
            await self.part(ctx, name="last")
        finally:
            await ctx.step("always", lambda: None)

    async def part(self, ctx: SagaContext, name: str) -> None:
        await ctx.step(name, lambda: None)
        return


def open_connection() -> Any: ...


KINDS = """\
+ step {connection}
+ step kind
+ if await ctx.step('kind', lambda: data.items) is 1
+   step one
+ else
+   if await ctx.step('kind', lambda: data.items) is _
+     step other
+ step again
+ while await ctx.step('again', lambda: False)
+   sleep until ctx.now()
+ for item in range(data.items)
+   step item {item}
+ if found
+   step paid
+ else
+   step free
+ at the same time
+   for number in range(paid)
+     step {name}
+ child child: Inner
+ step tell
+ if ctx.patched('new')
+   return
+ step last
+ step always"""


def test_a_class_without_source_is_refused() -> None:
    made: dict[str, Any] = {}
    exec("async def execute(self, data, saga): ...", made)
    cls: Any = type("Unseen", (Saga,), {"execute": made["execute"]})

    with pytest.raises(ConfigurationError, match=r"Unseen\.execute cannot be read"):
        saga_graph(cls)
