"""Whom an event reaches."""

from __future__ import annotations

import asyncio

from catga_testing.contracts.limits import SOON
from catga_testing.contracts.transports.base import TransportContractBase
from catga_testing.contracts.transports.handlers import Gate, Inbox
from catga_testing.contracts.transports.messages import Happened, Unheard
from catga_testing.contracts.transports.peers import Peers


class EventsContract(TransportContractBase):
    """Every service that listens, once each, and independent of one another."""

    async def test_an_event_reaches_every_service_once_and_one_replica_of_each(
        self,
        peers: Peers,
    ) -> None:
        """However many replicas a service has."""
        mail, stock = Inbox(), Inbox()
        listening = [
            await peers.add(service, events={Happened: inbox})
            for service, inbox in (("mail", mail), ("mail", mail), ("stock", stock))
        ]
        telling = await peers.add()

        for number in range(30):
            await telling.tell(Happened(number))
        await mail.until(30)
        await stock.until(30)

        # What has been accepted is finished by a drain: a second delivery would be seen now.
        for peer in listening:
            await peer.drain()
        for inbox in (mail, stock):
            assert sorted(each.number for each in inbox.messages) == list(range(30))

    async def test_a_service_hears_its_own_events(self, peers: Peers) -> None:
        """The publisher is a listener like any other."""
        inbox = Inbox()
        only = await peers.add("mail", events={Happened: inbox})

        await only.tell(Happened(1))

        await inbox.until(1)

    async def test_an_event_nobody_listens_for_is_no_error(self, peers: Peers) -> None:
        """Publishing it succeeds and disturbs nobody."""
        inbox = Inbox()
        await peers.add("mail", events={Happened: inbox})
        telling = await peers.add()

        await telling.tell(Unheard())
        await telling.tell(Happened(1))

        await inbox.until(1)
        assert inbox.messages == [Happened(1)]

    async def test_a_publisher_does_not_wait_for_handlers(self, peers: Peers) -> None:
        """It goes on when the event is handed over."""
        gate = Gate()
        await peers.add("mail", events={Happened: gate})
        telling = await peers.add()

        async with asyncio.timeout(SOON):
            await telling.tell(Happened(1))

        await gate.until(entered=1)
        gate.open()

    async def test_a_slow_service_does_not_hold_up_another(self, peers: Peers) -> None:
        """Each gets its deliveries in its own time."""
        gate, inbox = Gate(), Inbox()
        await peers.add("slow", events={Happened: gate}, max_concurrent=1)
        await peers.add("fast", events={Happened: inbox})
        telling = await peers.add()

        for number in range(10):
            await telling.tell(Happened(number))

        await inbox.until(10)
        assert gate.left == 0
        gate.open()

    async def test_a_publisher_that_closes_takes_no_delivery_back(self, peers: Peers) -> None:
        """What is being handled elsewhere is the receiver's."""
        gate = Gate()
        await peers.add("mail", events={Happened: gate})
        telling = await peers.add()
        await telling.tell(Happened(1))
        await gate.until(entered=1)

        async with asyncio.timeout(SOON):
            await telling.drain(0.1)
            await telling.close()
        gate.open()

        await gate.until(left=1)
