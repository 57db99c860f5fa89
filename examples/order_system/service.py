"""One service as a process of its own: `python -m examples.order_system.service payments --nats nats://...`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading

import msgspec

from catga_core import run

from .compositions import SERVICES, service
from .stores import MEMORY, store_argument

_GRACE = 10.0


def main() -> None:
    """Run a service until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="order_system.service", description="Run one service of the order system."
    )
    parser.add_argument("name", choices=sorted(SERVICES), help="which service")
    parser.add_argument(
        "--nats", default="nats://127.0.0.1:4222", metavar="URL", help="the NATS server (%(default)s)"
    )
    parser.add_argument(
        "--store",
        type=store_argument,
        default=MEMORY,
        metavar="STORE",
        help="where state is kept (%(default)s)",
    )
    parser.add_argument("--temporary", action="store_true", help="the store is removed at the end")
    parser.add_argument(
        "--with-parent",
        action="store_true",
        help="end when the standard input does: when whoever started this is gone",
    )
    options = parser.parse_args()
    if options.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    store = msgspec.structs.replace(options.store, temporary=options.temporary)
    run(service(options.name, options.nats, store))


def _end_with_parent() -> None:
    # The parent never writes; this returns when the other end is closed, which not even a SIGKILL of it prevents.
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE)
    os._exit(1)


if __name__ == "__main__":
    main()
