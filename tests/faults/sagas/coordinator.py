"""The coordinator: the saga of an order, in a process that shares its journals with others."""

from __future__ import annotations

import msgspec

from catga_core import CatgaContainer, CatgaError, CatgaOptions, Event, add_catga, message
from catga_core.event_sourcing import add_events
from catga_core.interfaces import EventStore
from catga_core.runtime import RetryPolicy
from catga_core.sagas import Saga, SagaContext, SagaOptions, add_sagas, saga
from catga_nats import NatsOptions, add_nats_catga
from tests.faults.messaging.counts import Log
from tests.faults.sagas.plan import PlaceOrder
from tests.faults.sagas.services import (
    ChargeMoney,
    RecallParcel,
    RefundMoney,
    ReleaseGoods,
    ReserveGoods,
    ShipParcel,
)

LEASE = 2.0  # seconds
WAIT = 1.5  # seconds, more than a saga stays in memory
_LINGER = 0.2
_TIMEOUT = 1.0
_UNTIL_DONE = RetryPolicy(max_attempts=None, delay_seconds=0.05, max_delay_seconds=1.0)


@message(name="faults.booked")
class OrderBooked(Event, frozen=True):
    """Kept in the storage of the journals, in the transaction of its step."""

    order_id: str
    parcel: str


class Parcel(msgspec.Struct, frozen=True):
    """What a saga returns."""

    charge: str
    number: str


@saga("order", retry=_UNTIL_DONE, compensation_retry=_UNTIL_DONE)
class PlacingSaga(Saga[PlaceOrder, Parcel]):
    """Reserves, charges, ships and books."""

    def __init__(self, log: Log, events: EventStore) -> None:
        self._log = log
        self._events = events

    async def execute(self, data: PlaceOrder, saga: SagaContext) -> Parcel:
        """Place an order."""
        self._log.record("run", id=data.order_id)
        order_id, fate = data.order_id, data.fate
        _, charge = await saga.gather(
            saga.send(
                "reserve",
                ReserveGoods(order_id, data.product, data.quantity, fate),
                compensate=lambda _: ReleaseGoods(order_id, data.product, data.quantity, fate),
                timeout=_TIMEOUT,
            ),
            saga.send(
                "charge",
                ChargeMoney(order_id, data.total, fate),
                compensate=lambda charge: RefundMoney(order_id, charge, data.total, fate),
                timeout=_TIMEOUT,
            ),
        )
        if fate == "waits":
            await saga.sleep(WAIT)
        parcel = await saga.send(
            "ship",
            ShipParcel(order_id, fate),
            compensate=lambda parcel: RecallParcel(order_id, parcel, fate),
            timeout=_TIMEOUT,
        )
        if fate in {"fraud", "stubborn"}:
            raise CatgaError("stolen card", code="FRAUD")
        await saga.step("book", lambda: self._book(order_id, parcel), in_unit_of_work=True)
        return Parcel(charge, parcel)

    async def _book(self, order_id: str, parcel: str) -> None:
        await self._events.append(bookings_of(order_id), OrderBooked(order_id, parcel))


def bookings_of(order_id: str) -> str:
    """Return the stream of an order's bookings."""
    return f"booking-{order_id}"


def coordinator(store: str, log: Log) -> CatgaContainer:
    """Put the coordinator together.

    Args:
        store: The URL of the storage.
        log: Where it writes which saga it runs.
    """
    catga = add_catga(CatgaOptions(service_name="orders", store=store))
    catga.add_singleton(Log, log)
    add_events(catga, OrderBooked)
    options = SagaOptions(lease_seconds=LEASE, poll_seconds=0.5, linger_seconds=_LINGER)
    add_sagas(
        catga,
        PlacingSaga,
        started_by=PlaceOrder,
        transaction_id=lambda order: order.order_id,
        options=options,
    )
    return catga


def over_nats(catga: CatgaContainer, server: str) -> CatgaContainer:
    """Connect a container to the others."""
    options = NatsOptions(
        server,
        connect_timeout=2.0,
        request_timeout=2.0,
        reconnect_wait=0.1,
        reconnect_jitter=0.1,
        ping_interval=1.0,
    )
    add_nats_catga(catga, options)
    return catga
