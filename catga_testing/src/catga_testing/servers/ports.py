"""Port numbers that stay ours, also while no server listens on them."""

from __future__ import annotations

import random
import socket
from typing import Self

LOOPBACK = "127.0.0.1"

# Below every system's range for outgoing connections (32768 on Linux, 49152 elsewhere). A port from that range can be taken by any
# client's connect() while our server is down, even by the client that is trying to reach it, and a restart would fail.
_FIRST, _LAST = 10_240, 32_767
_ATTEMPTS = 200

# Of its own: a test that seeds the global generator would make all its processes try the same ports.
_random = random.SystemRandom()


class ReservedPort:
    """A loopback TCP port that no other test process takes until it is closed, whether or not a server listens on it."""

    def __init__(self) -> None:
        """Reserve a free port.

        Raises:
            OSError: No free port was found.

        """
        for _ in range(_ATTEMPTS):
            number = _random.randint(_FIRST, _LAST)
            mark = _mark(number)
            if mark is None:
                continue
            self._mark = mark
            self.number = number
            if self.is_free():
                return
            mark.close()
        message = f"no free port between {_FIRST} and {_LAST} after {_ATTEMPTS} attempts"
        raise OSError(message)

    def is_free(self) -> bool:
        """Tell whether a server could listen on this port now."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # Servers set it too: a port whose old connections are in TIME_WAIT is free for them.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, self.number))
            except OSError:
                return False
            return True

    def close(self) -> None:
        """Give the port back; closing twice is harmless."""
        self._mark.close()

    def __enter__(self) -> Self:
        """Use the port for a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the port back."""
        self.close()


def _mark(number: int) -> socket.socket | None:
    # UDP and TCP ports of one number are independent: a bound UDP socket is a mark that every process
    # using this module sees, that the system removes when we die, and that no TCP server is hindered by.
    mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        mark.bind((LOOPBACK, number))
    except OSError:
        mark.close()
        return None
    return mark
