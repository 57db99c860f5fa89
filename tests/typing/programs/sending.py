"""What `send`, `sender`, `send_batch`, `stream` and `publish` give, and what they refuse."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, assert_type

from shop import CountOrders, CreateOrder, Forget, ListOrders, OrderCreated, OrderResult, Unrelated

from catga_core import CatgaMediator, CatgaResult
from catga_core.messages import Request


async def good(mediator: CatgaMediator) -> None:
    result = await mediator.send(CreateOrder("c-1", ["book"]))
    assert_type(result, CatgaResult[OrderResult])
    assert_type(result.unwrap(), OrderResult)
    assert_type(await mediator.send(CountOrders(), timeout=1.5), CatgaResult[int])
    assert_type(await mediator.send(Forget("c-1"), message_id="m-1", headers={"a": "b"}), CatgaResult[None])

    count = mediator.sender(CountOrders)
    assert_type(count, Callable[[Request[int]], Coroutine[Any, Any, CatgaResult[int]]])
    assert_type(await count(CountOrders("c-1")), CatgaResult[int])

    orders = [CreateOrder(f"c-{number}", []) for number in range(3)]
    assert_type(await mediator.send_batch(orders, max_concurrent=8), list[CatgaResult[OrderResult]])
    assert_type(await mediator.send_batch(orders, timeout=2), list[CatgaResult[OrderResult]])

    stream = mediator.stream(ListOrders("c-1"), timeout=3)
    assert_type(stream, AsyncGenerator[OrderResult, None])
    async for item in stream:
        assert_type(item, OrderResult)
    async with aclosing(mediator.stream(ListOrders("c-1"))) as items:
        assert_type(await anext(items), OrderResult)

    await mediator.publish(OrderCreated("o-1"), message_id="m-2", headers={"a": "b"})
    await mediator.publish_batch([OrderCreated("o-1"), OrderCreated("o-2")])


async def wrong(mediator: CatgaMediator) -> None:
    await mediator.send(CreateOrder("c-1", []), retries=3)  # E: mypy[call-arg] pyright[reportCallIssue]
    # E: mypy[arg-type] pyright[reportArgumentType]
    await mediator.send(CreateOrder("c-1", []), timeout="soon")
    await mediator.send(OrderCreated("o-1"))  # E: mypy[arg-type] pyright[reportArgumentType]
    await mediator.send(ListOrders("c-1"))  # E: mypy[arg-type] pyright[reportArgumentType]
    await mediator.send(Unrelated())  # E: mypy[arg-type] pyright[reportArgumentType]
    await mediator.publish(CreateOrder("c-1", []))  # E: mypy[arg-type] pyright[reportArgumentType]
    await mediator.publish(OrderCreated("o-1"), timeout=1)  # E: mypy[call-arg] pyright[reportCallIssue]
    mediator.stream(CountOrders())  # E: mypy[arg-type] pyright[reportArgumentType]
    mediator.sender(OrderCreated)  # E: mypy[arg-type] pyright[reportArgumentType]
    mediator.send(CountOrders())  # E: mypy[unused-coroutine] pyright[reportUnusedCoroutine]
    CreateOrder("c-1")  # E: mypy[call-arg] pyright[reportCallIssue]
    CreateOrder("c-1", []).customer_id = "c-2"  # E: mypy[misc] pyright[reportAttributeAccessIssue]
    # E: mypy[assignment] pyright[reportAssignmentType]
    number: str = (await mediator.send(CountOrders())).unwrap()
    print(number)
