"""The pytest plugin of catga-testing: fixtures that start real servers, and the collection of contract kits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catga_testing.sagas.determinism import DeterminismRules
    from catga_testing.servers import NatsCluster, NatsServer, ValkeyServer

# Every pytest run of an environment with catga-testing imports this module: servers are imported by those who ask for one.


def pytest_pycollect_makeitem(collector: pytest.Collector, obj: object) -> list[pytest.Item] | None:
    """Leave out the tests of a contract kit that are about something the class does not claim."""
    # By name: most runs have no contract kit, and should not import them.
    collects = getattr(getattr(collector, "cls", None), "collects", None)
    if collects is None or not hasattr(obj, "catga_needs") or collects(obj):
        return None
    return []


@pytest.fixture
def deterministic_sagas() -> Iterator[DeterminismRules]:
    """Refuse, in the code of sagas between their steps, everything that differs when it runs again."""
    from catga_testing.sagas.determinism import deterministic_sagas

    with deterministic_sagas() as rules:
        yield rules


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    """A nats-server with JetStream for this test alone, which may do it any harm."""
    from catga_testing.servers import NatsServer

    with NatsServer(jetstream=True) as server:
        yield server


@pytest.fixture(scope="session")
def nats_server_shared() -> Iterator[NatsServer]:
    """A nats-server with JetStream for all tests that do it no harm and use names of their own on it."""
    from catga_testing.servers import NatsServer

    with NatsServer(jetstream=True) as server:
        yield server


@pytest.fixture
def nats_cluster() -> Iterator[NatsCluster]:
    """Three nats-servers with JetStream for this test alone, which may do them any harm."""
    from catga_testing.servers import NatsCluster

    with NatsCluster() as cluster:
        yield cluster


@pytest.fixture
def valkey_server() -> Iterator[ValkeyServer]:
    """A Valkey server, which writes every command to disk before it answers, for this test alone, which may do it any harm."""
    from catga_testing.servers import ValkeyServer

    with ValkeyServer(appendfsync="always") as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server_shared() -> Iterator[ValkeyServer]:
    """A Valkey server for all tests that do it no harm and use a prefix of their own on it."""
    from catga_testing.servers import ValkeyServer

    with ValkeyServer() as server:
        yield server
