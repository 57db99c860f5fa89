"""Durable messaging over the queue stores of one program."""

from __future__ import annotations

from pathlib import Path

import pytest

from catga_core import CatgaContainer, CatgaOptions, add_catga
from catga_core.reliability import QueueOptions, add_queues
from catga_testing.contracts import Compose, DurableMessagingContract
from catga_testing.servers import ValkeyServer
from tests.stores import Place, place_of


def composed_over(place: Place) -> Compose:
    def composed(options: CatgaOptions, queues: QueueOptions) -> CatgaContainer:
        catga = add_catga(options)
        place.add(catga)
        add_queues(catga, queues)
        return catga

    return composed


class TestDurableMessagingInMemory(DurableMessagingContract):
    remote, transactional = False, True

    @pytest.fixture
    def compose(self, tmp_path: Path) -> Compose:
        return composed_over(place_of("memory", tmp_path, _no_server))


class TestDurableMessagingInSqlite(DurableMessagingContract):
    remote, transactional = False, True

    @pytest.fixture
    def compose(self, tmp_path: Path) -> Compose:
        return composed_over(place_of("sqlite", tmp_path, _no_server))


@pytest.mark.redis
class TestDurableMessagingInRedis(DurableMessagingContract):
    remote, transactional = False, True

    @pytest.fixture
    def compose(self, tmp_path: Path, valkey_server_shared: ValkeyServer) -> Compose:
        return composed_over(place_of("redis", tmp_path, lambda: valkey_server_shared.url))


def _no_server() -> str:
    raise NotImplementedError
