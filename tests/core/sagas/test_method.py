"""`catga.add_sagas`: the method of the container does as the function."""

from __future__ import annotations

import msgspec

from catga_core import Catga, CatgaOptions, Command, Event, add_catga
from catga_core.sagas import Saga, SagaContext, SagaExecutor, SagaOptions, SagaState
from catga_testing.waiting import eventually


class TicketSold(Event):
    number: str


async def test_sagas_are_added_by_a_method() -> None:
    # Found in this function, where the module postpones annotations.
    class Seat(msgspec.Struct):
        row: int

    class Reserve(Saga[Seat, int]):
        async def execute(self, data: Seat, saga: SagaContext) -> int:
            return await saga.step("reserve", lambda: data.row)

    class Print(Saga[TicketSold, None]):
        async def execute(self, data: TicketSold, saga: SagaContext) -> None:
            await saga.step("print", lambda: None)

    catga = add_catga(CatgaOptions(service_name="theatre"))
    catga.add_sagas(Reserve, options=SagaOptions(linger_seconds=0.01))
    catga.add_sagas(Print, started_by=TicketSold, transaction_id=lambda event: event.number)

    async with catga.running() as app:
        executor = app.get(SagaExecutor)
        reserved = await executor.execute("seat-1", Seat(7), Reserve, timeout=5)
        await app.mediator.publish(TicketSold("t-1"))

        async def printed() -> bool:
            return (await executor.status("t-1")).state is SagaState.COMPLETED

        await eventually(printed)

    assert reserved.value == 7
    assert isinstance(catga, Catga)


async def test_sagas_are_started_with_data_made_of_a_message() -> None:
    class CountOrder(Command[None]):
        number: str

    class Count(Saga[int, int]):
        async def execute(self, data: int, saga: SagaContext) -> int:
            return data

    catga = add_catga()
    catga.add_sagas(
        Count,
        started_by=CountOrder,
        transaction_id=lambda command: command.number,
        data=lambda command: len(command.number),
    )

    async with catga.running() as app:
        (await app.mediator.send(CountOrder("abc"))).unwrap()
        result = await app.get(SagaExecutor).result("abc", timeout=5)

    assert result.value == 3
