"""Makes `catalog.json` and `orders.jsonl`, the same bytes every time: `python make_data.py [FOLDER]`.

Everybody in it is invented, every address is in a domain that is reserved for examples, and every card number is one
of those that the card networks publish for tests.

The stock of every product is enough for all orders of it together, but for two that are sold out. So no order's fate
hangs on another's, and whatever the order in which they are decided, the totals are the same to the cent.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Record = dict[str, Any]

ORDERS = 1200
PRODUCTS: dict[str, tuple[str, str]] = {
    "TEA-ASSAM": ("Assam, second flush, 250 g", "11.90"),
    "TEA-DARJEELING": ("Darjeeling, first flush, 100 g", "14.95"),
    "TEA-EARL-GREY": ("Earl Grey, 200 g", "8.49"),
    "TEA-GREEN": ("Green tea, steamed, 150 g", "12.35"),
    "TEA-JASMINE": ("Jasmine pearls, 100 g", "17.25"),
    "TEA-ROOIBOS": ("Rooibos, 250 g", "5.79"),
    "TEA-WHITE": ("White tea, 50 g", "21.05"),
    "COFFEE-BRAZIL": ("Coffee from Brazil, 500 g", "9.95"),
    "COFFEE-COLOMBIA": ("Coffee from Colombia, 500 g", "12.45"),
    "COFFEE-DECAF": ("Coffee without caffeine, 250 g", "7.15"),
    "COFFEE-ETHIOPIA": ("Coffee from Ethiopia, 250 g", "10.65"),
    "COFFEE-HOUSE": ("House blend, 1 kg", "18.90"),
    "CUP-ENAMEL": ("Enamel cup", "6.33"),
    "CUP-PORCELAIN": ("Porcelain cup with saucer", "13.75"),
    "FILTER-PAPER": ("Paper filters, 100 pieces", "3.29"),
    "FILTER-STEEL": ("Steel filter", "24.85"),
    "GRINDER-HAND": ("Hand grinder", "58.50"),
    "HONEY-FOREST": ("Forest honey, 500 g", "9.05"),
    "KETTLE": ("Kettle, 1.2 l", "64.99"),
    "MACHINE-ESPRESSO": ("Espresso machine", "389.00"),
    "POT-GLASS": ("Glass pot, 1 l", "27.45"),
    "POT-IRON": ("Cast iron pot, 0.8 l", "46.20"),
    "SPOON-MEASURE": ("Measuring spoon", "4.07"),
    "SUGAR-CANE": ("Cane sugar, 500 g", "2.99"),
}
SOLD_OUT = ("POT-IRON", "TEA-WHITE")
SOLD = tuple(code for code in PRODUCTS if code not in SOLD_OUT)
UNKNOWN = ("TEA-LUNAR", "COFFEE-MARS", "CUP-PAPERCLIP")
GOOD_CARDS = (
    "4242424242424242",
    "4000056655665556",
    "5555555555554444",
    "378282246310005",
    "6011111111111117",
)
DECLINED_CARDS = ("4000000000000002", "4000000000009995", "4000000000000069")
WRONG_CARDS = ("4242424242424241", "5555555555554443")
DISCOUNTS = (None, None, None, None, None, "2.5", "5", "7.5", "12.5")
FIRST_NAMES = ("Ada", "Ben", "Cleo", "Dario", "Elif", "Finn", "Greta", "Hugo", "Ida", "Jonas")
LAST_NAMES = ("Abel", "Brandt", "Castell", "Dorn", "Eder", "Falk", "Gruber", "Haas", "Ivers", "Jansen")


class Dice:
    """Draws that stay the same: only `random()` is promised to give the same numbers in every Python."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def below(self, limit: int) -> int:
        return int(self._random.random() * limit)

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def some_of(self, choices: Sequence[T], count: int) -> list[T]:
        left = list(choices)
        return [left.pop(self.below(len(left))) for _ in range(count)]


def ordinary(dice: Dice, number: int) -> Record:
    """An order that nothing is wrong with."""
    first, last = dice.one_of(FIRST_NAMES), dice.one_of(LAST_NAMES)
    email = f"{first}.{last}{dice.below(90) + 10}@example.com".lower()
    order: Record = {
        "order_id": f"A-{10_000 + number}",
        "customer": {"name": f"{first} {last}", "email": email},
        "card": dice.one_of(GOOD_CARDS),
        "items": [item(code, 1 + dice.below(4)) for code in dice.some_of(SOLD, 1 + dice.below(5))],
    }
    discount = dice.one_of(DISCOUNTS)
    if discount is not None:
        order["discount_percent"] = discount
    return order


def item(product: str, quantity: int, price: str | None = None) -> Record:
    return {"product": product, "quantity": quantity, "price": price or PRODUCTS[product][1]}


# --- what goes wrong with orders --------------------------------------------------------------------------


def declined(dice: Dice, order: Record) -> None:
    order["card"] = dice.one_of(DECLINED_CARDS)


def mistyped_card(dice: Dice, order: Record) -> None:
    order["card"] = dice.one_of(WRONG_CARDS)


def over_the_limit(dice: Dice, order: Record) -> None:
    order["items"] = [item("MACHINE-ESPRESSO", 14 + dice.below(5)), item("COFFEE-HOUSE", 20)]


def sold_out(dice: Dice, order: Record) -> None:
    order["items"].append(item(dice.one_of(SOLD_OUT), 1 + dice.below(2)))


def far_too_many(dice: Dice, order: Record) -> None:
    order["items"][0]["quantity"] = 5000 + dice.below(4000)


def unknown_product(dice: Dice, order: Record) -> None:
    order["items"].append(item(dice.one_of(UNKNOWN), 1, "9.99"))


def old_price(dice: Dice, order: Record) -> None:
    wanted = dice.one_of(order["items"])
    wanted["price"] = str(Decimal(wanted["price"]) - Decimal("0.50"))


def twice_the_same(dice: Dice, order: Record) -> None:
    order["items"].append(dict(dice.one_of(order["items"])))


def absurd_discount(dice: Dice, order: Record) -> None:
    order["discount_percent"] = dice.one_of(("110", "-5", "1000"))


# How many of every hundred orders; the others are ordinary.
TROUBLES: tuple[tuple[int, Callable[[Dice, Record], None]], ...] = (
    (5, declined),
    (2, mistyped_card),
    (1, over_the_limit),
    (3, sold_out),
    (1, far_too_many),
    (2, unknown_product),
    (2, old_price),
    (1, twice_the_same),
    (1, absurd_discount),
)
# These never get as far as to have goods set aside.
NEVER_RESERVED = (sold_out, far_too_many, unknown_product, twice_the_same, absurd_discount)


# --- lines that are not valid orders -----------------------------------------------------------------------------


def changed(order: Record, **changes: Any) -> str:
    return line({**order, **changes})


def without(order: Record, field: str) -> str:
    return line({name: value for name, value in order.items() if name != field})


def with_quantity(order: Record, quantity: Any) -> str:
    first, *others = order["items"]
    return changed(order, items=[{**first, "quantity": quantity}, *others])


BAD_LINES: tuple[Callable[[Record], str], ...] = (
    lambda order: line(order)[:-20],  # a line that was cut off
    lambda order: with_quantity(order, -2),
    lambda order: without(order, "card"),
    lambda order: with_quantity(order, "three"),
    lambda order: line(order).replace('"', "'"),
    lambda order: without(order, "items"),
    lambda order: with_quantity(order, 0),
    lambda order: changed(order, items=[]),
    lambda order: with_quantity(order, 1.5),
    lambda order: changed(order, order_id=int(order["order_id"][2:])),
    lambda order: changed(order, customer=order["customer"]["name"]),
    lambda order: changed(order, items=[{**order["items"][0], "price": "a lot"}]),
    lambda order: json.dumps(list(order)),
    lambda order: changed(order, card="4242 4242 4242 4242"),
    lambda order: f"order_id;card;items {order['order_id']}",
)


def line(value: Record) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- the files ----------------------------------------------------------------------------------------------


def make_orders(dice: Dice) -> tuple[list[str], Counter[str]]:
    """Return the lines of the file, and how many of each product they set aside at most."""
    hundred = [trouble for count, trouble in TROUBLES for _ in range(count)]
    lines: list[str] = []
    wanted: Counter[str] = Counter()
    for number in range(ORDERS):
        order = ordinary(dice, number)
        drawn = dice.below(100)
        trouble = hundred[drawn] if drawn < len(hundred) else None
        if trouble is not None:
            trouble(dice, order)
        if trouble not in NEVER_RESERVED:
            wanted.update({item["product"]: item["quantity"] for item in order["items"]})
        lines.append(line(order))
        if number % 40 == 17:
            spoilt = ordinary(dice, ORDERS + number)
            lines.append(BAD_LINES[number // 40 % len(BAD_LINES)](spoilt))
        if number % 120 == 99:
            # The same order once more: somebody pressed the button twice.
            lines.append(lines[-1 - dice.below(30)] if trouble is None else lines[-1])
    return lines, wanted


def make_catalog(dice: Dice, wanted: Counter[str]) -> str:
    products = [
        {
            "code": code,
            "name": name,
            "price": price,
            "stock": 0 if code in SOLD_OUT else wanted[code] + 3 + dice.below(40),
        }
        for code, (name, price) in PRODUCTS.items()
    ]
    assert all(int(str(product["stock"])) < 5000 for product in products), "5000 has to be far too many"
    return json.dumps({"products": products}, indent=2) + "\n"


def make(folder: Path) -> None:
    """Write both files."""
    dice = Dice(20_240)
    lines, wanted = make_orders(dice)
    # Bytes, so that every system writes the same line ends.
    (folder / "orders.jsonl").write_bytes("".join(f"{text}\n" for text in lines).encode())
    (folder / "catalog.json").write_bytes(make_catalog(dice, wanted).encode())


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
