"""Run every benchmark and print one table; `--write FILE` puts it into the documentation page as well."""

from __future__ import annotations

import argparse
import asyncio
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.measure import Row, table

_PACKAGES = (
    "catga-core",
    "msgspec",
    "dependency-injector",
    "nats-py",
    "uvloop",
    "mediatr",
    "mediatorx",
    "python-cqrs",
    "faststream",
    "eventsourcing",
    "taskiq",
    "saq",
    "dramatiq",
    "celery",
    "huey",
)
_BEGIN = "<!-- table: begin -->"
_END = "<!-- table: end -->"


def _dispatch(rounds: int) -> list[Row]:
    from benchmarks import dispatch

    return asyncio.run(dispatch.run(rounds * 4 + 1))


def _peers(rounds: int) -> list[Row]:
    from benchmarks import peers

    return asyncio.run(peers.run(rounds * 2 + 1))


def _requests(rounds: int) -> list[Row]:
    from benchmarks import nats_rpc

    return nats_rpc.run(rounds)


def _publish(rounds: int) -> list[Row]:
    from benchmarks import nats_publish

    return nats_publish.run(rounds * 2 + 1)


def _streams(rounds: int) -> list[Row]:
    from benchmarks import nats_streams

    return nats_streams.run(rounds)


def _jetstream(rounds: int) -> list[Row]:
    from benchmarks import nats_jetstream

    return nats_jetstream.run(rounds)


def _faststream(rounds: int) -> list[Row]:
    try:
        import faststream  # noqa: F401
    except ImportError:
        return []
    from benchmarks import nats_faststream

    return nats_faststream.run(max(3, rounds // 2))


def _sqlite(rounds: int) -> list[Row]:
    from benchmarks import sqlite_stores

    return sqlite_stores.run(rounds)


def _redis(rounds: int) -> list[Row]:
    from benchmarks import redis_stores

    return redis_stores.run(rounds)


def _queues(rounds: int) -> list[Row]:
    from benchmarks import queues

    return queues.run(rounds)


def _queue_peers(rounds: int) -> list[Row]:
    from benchmarks import queue_peers

    return queue_peers.run(max(3, rounds // 2))


def _sagas(rounds: int) -> list[Row]:
    from benchmarks import sagas

    return sagas.run(rounds)


def _event_sourcing(rounds: int) -> list[Row]:
    from benchmarks import event_sourcing

    return event_sourcing.run(rounds)


def _large(rounds: int) -> list[Row]:
    from benchmarks import large_stores

    return asyncio.run(large_stores.run(rounds))


def _imports(rounds: int) -> list[Row]:
    from benchmarks import import_time

    return import_time.run(rounds * 2 + 1)


SUITES: dict[str, tuple[str, Callable[[int], list[Row]]]] = {
    "dispatch": ("Dispatch in one process (lower is better)", _dispatch),
    "peers": ("The same by other mediators (lower is better)", _peers),
    "requests": ("Requests over NATS, three processes on one CPU (higher is better)", _requests),
    "publish": ("Events over NATS, three processes on one CPU (higher is better)", _publish),
    "streams": ("Streams over NATS, three processes on one CPU (higher is better)", _streams),
    "jetstream": ("JetStream, client and server on one CPU (higher is better)", _jetstream),
    "faststream": ("FastStream on the same messages (higher is better)", _faststream),
    "sqlite": ("The SQLite stores, synchronous=FULL on both sides (higher is better)", _sqlite),
    "redis": ("The Redis stores, client and server on one CPU (higher is better)", _redis),
    "queues": ("Queues, with synchronous=FULL in SQLite (higher is better)", _queues),
    "queue-peers": ("Queues of others, callers and worker on one CPU (higher is better)", _queue_peers),
    "sagas": ("Sagas of three trivial steps, synchronous=FULL in SQLite", _sagas),
    "aggregates": ("Aggregates of 100 events, as time (lower is better)", _event_sourcing),
    "large": ("A long history beside a short one, as time (lower is better)", _large),
    "imports": ("Import time (lower is better)", _imports),
}


# Both are measured against the same raw client, so the quotient of their ratios compares them with each other.
_AGAINST_FASTSTREAM = (
    ("requests", "send over NATS / raw request, 64 in flight", "broker.request", "request", ">= 5"),
    ("publish", "publish over NATS, until handled in another process", "publish", "publish", ">= 8"),
)


def _compared(measured: dict[str, list[Row]]) -> list[Row]:
    """Return how Catga compares with FastStream, where both were measured."""
    rows: list[Row] = []
    for suite, name, theirs, title, goal in _AGAINST_FASTSTREAM:
        ours = next((row for row in measured.get(suite, ()) if row.name == name), None)
        peer = next((row for row in measured.get("faststream", ()) if f": {theirs} /" in row.name), None)
        if ours is not None and peer is not None:
            rows.append(
                Row(
                    f"Catga / FastStream: {title}",
                    ours.ratio / peer.ratio,
                    ours.ours,
                    peer.ours,
                    ours.unit,
                    goal,
                )
            )
    return rows


def _versions() -> Iterable[str]:
    yield f"CPython {platform.python_version()}"
    server = Path(sys.executable).with_name("nats-server")
    if server.exists():
        told = subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout
        yield told.strip().replace(": v", " ")
    for package in _PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue


def main() -> int:
    """Print the table; the exit code says whether every goal is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "suites", nargs="*", choices=[[], *SUITES], help="which; all of them if none is named"
    )
    parser.add_argument("--rounds", type=int, default=11, help="paired slices for each row; more is steadier")
    parser.add_argument("--write", type=Path, help="the page whose table is to be replaced")
    arguments = parser.parse_args()
    parts: list[str] = []
    measured: dict[str, list[Row]] = {}

    def show(title: str, rows: list[Row]) -> None:
        if rows:
            parts.append(f"### {title}\n\n{table(rows)}")
            print(f"\n{parts[-1]}", flush=True)

    for name in arguments.suites or SUITES:
        title, run = SUITES[name]
        measured[name] = run(arguments.rounds)
        show(title, measured[name])
    measured["compared"] = _compared(measured)
    show("Catga beside FastStream (higher is better)", measured["compared"])
    missed = sum(not row.met for rows in measured.values() for row in rows)
    versions = ", ".join(_versions())
    print(f"\n{versions}")
    if arguments.write is not None:
        page = arguments.write.read_text()
        head, _, rest = page.partition(_BEGIN)
        _, _, tail = rest.partition(_END)
        made = "\n\n".join(parts)
        arguments.write.write_text(f"{head}{_BEGIN}\n\n{made}\n\nMeasured with {versions}.\n\n{_END}{tail}")
    if missed:
        print(f"{missed} goals missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
