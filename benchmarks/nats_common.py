"""What the NATS benchmarks share: the messages, the processes, and one CPU for all of them."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.measure import Row, table
from catga_core import CatgaContainer, CatgaOptions, Command, Event, Success, add_catga, message_type
from catga_core.messages.context import begin_context
from catga_core.messages.serialization import EnvelopeCodec, msgpack_serializer
from catga_nats import add_nats_catga


class Item(msgspec.Struct, frozen=True):
    sku: str
    quantity: int
    price: Decimal


class OrderAccepted(msgspec.Struct, frozen=True):
    order_id: str
    customer_id: str
    total: Decimal
    lines: int
    remarks: str


class PlaceOrder(Command[OrderAccepted], frozen=True):
    order_id: str
    customer_id: str
    items: list[Item]


class OrderPlaced(Event, frozen=True):
    order_id: str
    customer_id: str
    items: list[Item]


ITEMS = [Item("sku-0001", 2, Decimal("19.90")), Item("sku-0002", 1, Decimal("4.50"))]
ORDER = PlaceOrder("order-000000000001", "customer-000000000001", ITEMS)
PLACED = OrderPlaced("order-000000000001", "customer-000000000001", ITEMS)
ACCEPTED = OrderAccepted(
    "order-000000000001", "customer-000000000001", Decimal("44.30"), 2, "ships tomorrow " * 4
)


def accept(message: PlaceOrder) -> OrderAccepted:
    """Answer an order."""
    return OrderAccepted(message.order_id, message.customer_id, Decimal("44.30"), 2, ACCEPTED.remarks)


def service(name: str, url: str) -> CatgaContainer:
    """Return a service on NATS, to be given its handlers."""
    catga = add_catga(CatgaOptions(service_name=name, max_concurrent_requests=1000))
    add_nats_catga(catga, url)
    return catga


def sizes() -> tuple[int, int, int]:
    """Return how many bytes our request, our answer and our event have on the wire."""
    codec = EnvelopeCodec(msgpack_serializer())
    context = begin_context()
    request = codec.encode(message_type(PlaceOrder), ORDER, context, 1_800_000_000.0)
    event = codec.encode(message_type(OrderPlaced), PLACED, context, None)
    return len(request), len(codec.encode_result(Success(ACCEPTED))), len(event)


def pinned(*command: str) -> list[str]:
    """Return the command bound to the first CPU: a wake-up across CPUs costs more than what is measured here."""
    return ["taskset", "-c", "0", *command] if shutil.which("taskset") else list(command)


def environment() -> dict[str, str]:
    """Return what a process of a benchmark needs to import it, wherever it is started from."""
    path = [os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[1])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


@contextmanager
def processes(module: str, url: str) -> Iterator[list[str]]:
    """Start the other side of a benchmark, and give the command of its client."""
    other = subprocess.Popen(
        pinned(sys.executable, "-m", module, "--other", url),
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    try:
        assert other.stdout is not None
        # Its log goes the same way.
        if not any(line.strip() == "ready" for line in other.stdout):
            raise RuntimeError(f"{module} --other did not start")
        yield pinned(sys.executable, "-m", module, "--client", url)
    finally:
        other.kill()
        other.wait()


def run_pinned(module: str, rounds: int) -> list[Row]:
    """Run a benchmark in three pinned processes: a server, the other side, the client."""
    from catga_testing.servers import NatsServer

    with NatsServer() as server:
        if shutil.which("taskset"):
            subprocess.run(["taskset", "-acp", "0", str(server.pid)], check=True, stdout=subprocess.DEVNULL)
        with processes(module, server.url) as client:
            done = subprocess.run(
                [*client, "--rounds", str(rounds)],
                check=True,
                stdout=subprocess.PIPE,
                env=environment(),
            )
    return [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])]


def main(
    module: str,
    other: Callable[[str], Coroutine[Any, Any, None]],
    client: Callable[[str, int], Coroutine[Any, Any, list[Row]]],
    *,
    rounds: int,
) -> None:
    """Be one of the processes, or the one that starts them and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--other", help="the server's URL; for the process that answers")
    parser.add_argument("--client", help="the server's URL; for the process that measures")
    arguments = parser.parse_args()
    if arguments.other:
        asyncio.run(other(arguments.other))
    elif arguments.client:
        print(
            json.dumps(
                [dataclasses.asdict(row) for row in asyncio.run(client(arguments.client, arguments.rounds))]
            )
        )
    else:
        print(table(run_pinned(module, arguments.rounds)))
