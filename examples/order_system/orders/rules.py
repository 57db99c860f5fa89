"""What has to be true of an order beyond the types of its fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from catga_core import ValidationProblem, Validator

from ..money import CENT
from .messages import CreateOrder

_DEAREST = Decimal(1_000_000)


class OrderRules(Validator[CreateOrder]):
    """The registered rules of `CreateOrder`; everything that is wrong is told at once."""

    def validate(self, message: CreateOrder) -> Iterable[ValidationProblem]:
        return list(_problems(message))


def _problems(order: CreateOrder) -> Iterator[ValidationProblem]:
    seen: set[str] = set()
    for index, item in enumerate(order.items):
        if not _is_price(item.price):
            yield ValidationProblem(f"items[{index}].price", "must be more than 0, in whole cents")
        if item.product in seen:
            yield ValidationProblem(f"items[{index}].product", "is in this order already")
        seen.add(item.product)
    # Not "<= 100" alone: a decimal can also be NaN, which must not be compared.
    if not order.discount_percent.is_finite() or not 0 <= order.discount_percent <= 100:
        yield ValidationProblem("discount_percent", "must be from 0 to 100")


def _is_price(price: Decimal) -> bool:
    return price.is_finite() and 0 < price < _DEAREST and price == price.quantize(CENT)
