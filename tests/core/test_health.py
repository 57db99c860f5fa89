"""Health is data: for programs, for people, and for an endpoint that answers with JSON."""

from __future__ import annotations

import asyncio
import copy
import decimal
import json
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest

from catga_core import CatgaOptions, Event, Health, HealthStatus, Query, add_catga


class Ask(Query[int]):
    n: int


class Happened(Event):
    n: int


async def ask(message: Ask) -> int:
    return message.n


async def on_happened(event: Happened) -> None:
    pass


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_health_of_a_container_is_json(store: str, tmp_path: Path) -> None:
    url = None if store == "memory" else f"sqlite:///{tmp_path / 'app.db'}"
    catga = add_catga(
        CatgaOptions(
            service_name="s",
            store=url,
            enable_idempotency=True,
            enable_outbox=True,
            enable_inbox=True,
            enable_dead_letter_queue=True,
        )
    )
    catga.add_handlers(ask, on_happened)

    async def run() -> Mapping[str, Health]:
        async with catga.running() as app:
            await app.mediator.send(Ask(1))
            return app.health()

    health = asyncio.run(run())
    read = json.loads(json.dumps(health))
    assert read == msgspec.json.decode(msgspec.json.encode(health))
    assert read["mediator"]["status"] == "healthy"
    assert read["mediator"]["details"]["in_flight"] == 0
    assert set(read) == set(health)


def test_details_without_a_form_in_json_are_texts() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    details = {
        "at": at,
        "n": decimal.Decimal(1),
        "never": float("inf"),
        "parts": (1, {2}),
        5: MappingProxyType({"a": b"x"}),
    }

    health = Health(HealthStatus.DEGRADED, "slow", details)  # type: ignore[arg-type]

    assert json.loads(json.dumps(health))["details"] == {
        "at": str(at),
        "n": "1",
        "never": "inf",
        "parts": [1, [2]],
        "5": {"a": "b'x'"},
    }


def test_health_is_compared_matched_and_copied() -> None:
    health = Health(HealthStatus.HEALTHY, "well", {"n": 1})

    assert health == Health(HealthStatus.HEALTHY, "well", {"n": 1})
    assert health != Health(HealthStatus.HEALTHY)
    assert copy.deepcopy(health) == pickle.loads(pickle.dumps(health)) == health  # our own bytes
    match health:
        case Health(status, description):
            assert (status, description) == (HealthStatus.HEALTHY, "well")
