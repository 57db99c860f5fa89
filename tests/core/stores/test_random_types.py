"""Random events and states: refused, or read back equal from every store."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from catga_core import CatgaError, ConfigurationError
from catga_core.codecs.plan import plan_of
from catga_core.event_sourcing import Aggregate, AggregateRepository, add_aggregate, add_events, apply, every
from tests.random_types import equal, make_event, spoiled
from tests.stores import Place

TYPES = 25


@pytest.mark.parametrize("serializer", ["msgpack", "json"])
def test_random_events_are_refused_or_read_back(place: Place, serializer: str) -> None:
    import asyncio

    rng = Random(f"store {serializer}")
    made = [make_event(rng) for _ in range(TYPES)]
    kept = [each for each in made if not plan_of(each[0]).problems]
    catga = place.container(serializer=serializer)
    add_events(catga, *(cls for cls, _ in kept))
    counts = Counter[str]()

    async def run() -> None:
        async with catga.running() as app:
            for number, (_, make) in enumerate(kept):
                for event in (make(rng), make(rng), spoiled(rng, make(rng))):
                    stream = f"random-{number}-{counts.total()}"
                    try:
                        await app.event_store.append(stream, event)
                    except CatgaError as error:
                        counts[error.code] += 1
                        assert await app.event_store.version(stream) == 0
                        continue
                    counts["kept"] += 1
                    back = [each.event async for each in app.event_store.read(stream)]
                    assert len(back) == 1
                    assert equal(back[0], event), (event, back)

    asyncio.run(run())
    assert set(counts) <= {"kept", "SERIALIZATION_FAILED"}
    assert counts["kept"] > TYPES / 2


def _aggregate_of(cls: Any) -> Any:
    """Return an aggregate whose state is the last event's fields, and which is in a snapshot after each event."""
    fields: tuple[str, ...] = cls.__struct_fields__

    def changed(self: Any, event: Any) -> None:
        for name in fields:
            setattr(self, name, getattr(event, name))

    changed.__annotations__["event"] = cls
    annotations = {name: cls.__annotations__[name] | None for name in fields}
    body = {"__annotations__": annotations, **dict.fromkeys(fields), "_changed": apply(changed)}
    return type(f"Of{cls.__name__}", (Aggregate,), body)


def test_random_states_are_the_same_with_and_without_snapshot(place: Place) -> None:
    import asyncio

    rng = Random("states")
    made: list[Any] = []
    while len(made) < TYPES:
        cls, make = make_event(rng)
        try:
            made.append((cls, make, _aggregate_of(cls)))
        except TypeError:
            # `object | None` can be written of classes only.
            continue
    used = 0

    async def run(cls: Any, make: Any, aggregate: Any) -> int:
        catga = place.container()
        add_aggregate(catga, aggregate, snapshots=every(1))
        try:
            async with catga.running() as app:
                people: Any = app.get(AggregateRepository[aggregate])
                one = aggregate(cls.__name__)
                event = make(rng)
                one.raise_event(event)
                try:
                    await people.save(one)
                except CatgaError as error:
                    assert error.code == "SERIALIZATION_FAILED"  # noqa: PT017 - most are saved
                    return 0
                loaded = await people.load(cls.__name__)
                for name in cls.__struct_fields__:
                    assert equal(getattr(loaded, name), getattr(event, name)), (event, vars(loaded))
                return int(people.snapshot_counts.used)
        except ConfigurationError:
            return 0

    for each in made:
        used += asyncio.run(run(*each))
    assert used
