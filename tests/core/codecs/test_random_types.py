"""Whatever annotations allow: refused when it is registered, or equal after a round trip through both formats."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catga_core.codecs.plan import plan_of
from catga_core.errors import SerializationError
from catga_core.messages.exact import exact_encoder
from catga_core.messages.serialization import json_serializer, msgpack_serializer
from tests.random_types import equal, make_event, spoiled

SERIALIZERS = (msgpack_serializer(), json_serializer())
BOUNDED = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def outcomes_of(rng: Random) -> Counter[str]:
    """Make one event class and some of its events; return what became of them."""
    cls, make = make_event(rng)
    problems = plan_of(cls).problems
    if problems:
        assert all("field" in problem.place for problem in problems), problems
        return Counter({"type refused": 1})
    counts = Counter[str]()
    for serializer in SERIALIZERS:
        encode, decode = exact_encoder(serializer, cls), serializer.decoder(cls)
        for event in (make(rng), make(rng), spoiled(rng, make(rng))):
            try:
                data = encode(event)
            except SerializationError:
                counts["value refused"] += 1
                continue
            back = decode(data)
            assert equal(back, event), (serializer.name, event, back)
            counts["value kept"] += 1
    return counts


@BOUNDED
@given(st.randoms(use_true_random=False))
def test_random_type_is_refused_or_kept(rng: Random) -> None:
    outcomes_of(rng)


@pytest.mark.parametrize("seed", range(5))
def test_random_types_of_a_seed_are_refused_or_kept(seed: int) -> None:
    rng = Random(f"types {seed}")
    counts = Counter[str]()
    for _ in range(60):
        counts += outcomes_of(rng)
    # It would be easy to refuse everything, and easy to make only what is kept.
    assert min(counts["value kept"], counts["value refused"], counts["type refused"]) > 5


@pytest.mark.parametrize("seed", range(3))
def test_most_values_of_their_type_are_kept(seed: int) -> None:
    rng = Random(f"values {seed}")
    kept, refused = 0, 0
    while kept + refused < 80:
        cls, make = make_event(rng)
        if plan_of(cls).problems:
            continue
        try:
            exact_encoder(SERIALIZERS[0], cls)(make(rng))
        except SerializationError:
            refused += 1
        else:
            kept += 1
    assert refused < kept / 20
