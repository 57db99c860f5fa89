"""The command line: `python -m examples.order_system --help`."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from catga_core import CatgaContainer, CatgaError, ConfigurationError

from . import compositions
from .fleet import FleetError
from .report import Report, differences
from .runs import Plan, run_one_process, run_services
from .show import Narrator, text_of, text_of_trouble
from .source import SourceError, open_source
from .stores import Store, StoreKind, store_argument

_HINT = (
    "(where a product was wanted more often than there is, who comes first gets it: "
    "--concurrency 1 makes that the same in both runs)"
)
_BALANCED, _UNBALANCED, _USAGE, _INTERRUPTED = 0, 1, 2, 130


def main(
    arguments: Sequence[str] | None = None,
    *,
    compose: Callable[[Store], CatgaContainer] = compositions.one_process,
) -> int:
    """Run the orders and return the exit code: 0 when everything balances, 1 when not, 2 for a wrong call.

    Args:
        arguments: Those of the command line, without the program.
        compose: Makes the one process; a test puts its own in.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    _refuse_what_cannot_be(parser, options)
    narrator = Narrator(quiet=options.quiet)
    try:
        with tempfile.TemporaryDirectory(prefix="order-system-") as folder:
            source = _source(options.source, Path(folder), twice=options.services)
            plan = Plan(
                source=source,
                concurrency=options.concurrency,
                kill_replica=options.kill_replica is not False,
                kill_orders=options.kill_orders,
                kill_notifications=options.kill_notifications,
                restart_nats=options.restart_nats,
                store=options.store
                or Store(StoreKind.SQLITE, str(Path(folder) / "orders.db"), temporary=True),
                crash_after=options.crash_after,
            )
            reports = asyncio.run(_runs(plan, narrator, compose, services=options.services))
    except SourceError as error:
        parser.error(str(error))
    except (FleetError, CatgaError, ConfigurationError) as error:
        print(f"order_system: {error}", file=sys.stderr)
        return _UNBALANCED
    except KeyboardInterrupt:
        return _INTERRUPTED
    return _tell(reports, as_json=options.json)


async def _runs(
    plan: Plan, narrator: Narrator, compose: Callable[[Store], CatgaContainer], *, services: bool
) -> list[Report]:
    reports = [await run_one_process(plan, narrator, compose(plan.store))]
    if services:
        reports.append(await run_services(plan, narrator, lines=reports[0].totals.read))
    return reports


def _source(name: str, folder: Path, *, twice: bool) -> str:
    """Return a file that can be read as often as it has to be."""
    with open_source(name) as source:
        if name != "-" or not twice:
            return name
        copy = folder / "stdin.jsonl"
        with copy.open("wb") as target:
            shutil.copyfileobj(source, target)
        return str(copy)


def _tell(reports: Sequence[Report], *, as_json: bool) -> int:
    differing = differences(reports[0].totals, reports[-1].totals)
    balanced = not any(report.mismatches or report.undecided for report in reports)
    if as_json:
        summary = {"balanced": balanced, "differences": differing, "runs": reports}
        print(msgspec.json.format(msgspec.json.encode(summary)).decode())
    else:
        for report in reports:
            print(text_of(report))
            if report is not reports[0]:
                print(f"  {text_of_trouble(report)}")
            print()
        if differing:
            print("THE RUNS DIFFER", *differing, _HINT, sep="\n  ")
        elif len(reports) > 1:
            print("The runs agree to the cent.")
    return _BALANCED if balanced and not differing else _UNBALANCED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="order_system",
        description="Runs orders through the order system: in one process, killed in the middle if you like, or compared with "
        "services over NATS.",
    )
    parser.add_argument(
        "source",
        nargs="?",
        default=str(compositions.DATA / "orders.jsonl"),
        metavar="FILE",
        help="orders as JSON Lines, '-' for the standard input (default: the file that comes with it)",
    )
    parser.add_argument(
        "--concurrency",
        type=_positive,
        default=32,
        metavar="N",
        help="orders under way at a time (%(default)s)",
    )
    parser.add_argument(
        "--services",
        action="store_true",
        help="run them once more through services over a nats-server, and compare",
    )
    parser.add_argument(
        "--kill-replica",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="with --services: kill one of the two payments replicas on the way (on by default)",
    )
    parser.add_argument(
        "--kill-orders",
        action="store_true",
        help="with --services: kill the orders service on the way, and start it again when its absence was noticed",
    )
    parser.add_argument(
        "--kill-notifications",
        action="store_true",
        help="with --services: kill the notifications service on the way, and start it again when all orders are decided",
    )
    parser.add_argument(
        "--restart-nats",
        action="store_true",
        help="with --services: kill the nats-server on the way, and start it again with the events that it keeps",
    )
    parser.add_argument(
        "--store",
        type=store_argument,
        metavar="STORE",
        help="where state is kept: memory, sqlite:///FILE or redis://HOST:PORT; a file or a Redis that has orders already "
        "is gone on with (default: an SQLite file that is removed at the end)",
    )
    parser.add_argument(
        "--crash-after",
        type=_positive,
        metavar="N",
        help="kill this very process with SIGKILL after N decisions, in the middle of others; run it again with the "
        "same --store and without this option, and it comes to the same totals as if nothing had happened",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    return parser


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: give a whole number, 1 or more")
    return number


def _refuse_what_cannot_be(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    asked = {
        "--kill-replica": options.kill_replica,
        "--kill-orders": options.kill_orders,
        "--kill-notifications": options.kill_notifications,
        "--restart-nats": options.restart_nats,
    }
    for name, wanted in asked.items():
        if wanted and not options.services:
            parser.error(f"{name} needs --services: in one process there is no service and no server to kill")
    for name in ("--kill-orders", "--kill-notifications"):
        if asked[name] and options.store is not None and not options.store.outlives_the_process:
            parser.error(f"{name} cannot be used with --store memory, which is gone with the process")
    if options.crash_after is None:
        return
    if options.services:
        parser.error("--crash-after is for the one process: leave --services out")
    if options.store is None:
        parser.error(
            "--crash-after needs a place where the next run finds the orders: add --store sqlite:///FILE"
        )
    if not options.store.outlives_the_process:
        parser.error(
            "--crash-after cannot be used with --store memory, which is gone with the process: use --store sqlite:///FILE"
        )
