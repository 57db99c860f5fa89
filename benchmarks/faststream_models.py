"""The messages of the benchmarks as FastStream's users write them: models of Pydantic."""

from __future__ import annotations

from pydantic import BaseModel


class Item(BaseModel):
    sku: str
    quantity: int
    price: str


class Order(BaseModel):
    order_id: str
    customer_id: str
    items: list[Item]


class Accepted(BaseModel):
    order_id: str
    customer_id: str
    total: str
    lines: int
    remarks: str
