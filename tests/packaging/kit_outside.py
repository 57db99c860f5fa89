"""The contract kit as the author of a plugin runs it: against installed wheels, far from this repository.

`nox -s packaging` copies this file, as a test module, to an empty folder outside the tree. It may import
only what the wheels bring. Its name keeps it out of the usual run, where tests/contracts covers the same.
"""

from __future__ import annotations

import pytest

# The place of the contract kit: one class for each transport.
#
#     class TestMemory(TransportContract): a fixture that gives the in-process transport
#     class TestNats(TransportContract): a fixture that gives NATS on a server from catga-testing's fixtures


@pytest.mark.parametrize("name", ["memory", "nats", "tls"])
def test_the_transports_are_found_by_their_entry_points(name: str) -> None:
    from importlib.metadata import entry_points

    (found,) = entry_points(group="catga.transports", name=name)
    assert callable(found.load())
