"""Which aggregate or decider of a container each category of streams belongs to."""

from __future__ import annotations

from typing import Any

from catga_core.descriptions import with_module
from catga_core.errors import ConfigurationError
from catga_core.host import Host


class Categories:
    """The categories of one container, each with its owner: streams are called `category-id`."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[object, str]] = {}

    def claim(self, category: str, owner: object, shown: str) -> None:
        """Note whose a category is.

        Args:
            category: What the names of streams begin with.
            owner: The aggregate's class, or the type a decider's repository is asked for by. Claiming again changes nothing.
            shown: The owner with its module and file.

        Raises:
            ConfigurationError: Another owner has the category: both would write into the same streams.
        """
        other, other_shown = self._owners.setdefault(category, (owner, shown))
        if other != owner:
            msg = (
                f"{other_shown} and {shown} have the same category {category!r}, so both would use the streams "
                f"{category}-ID. Give one of them another category: class Order(Aggregate, category='...') or "
                "Decider(category='...')."
            )
            raise ConfigurationError(msg)


def claim_category(container: Host, category: str, owner: object, source: Any) -> None:
    """Note whose a category of a container is.

    Args:
        container: The container.
        category: What the names of streams begin with.
        owner: The aggregate's class, or the type a decider's repository is asked for by.
        source: What errors show with its module and file.

    Raises:
        ConfigurationError: Another aggregate or decider has the category.
    """
    known = container.registered(Categories)
    if known is None:
        container.add_singleton(Categories, Categories(), instance=True)
        known = container.registered(Categories)
    categories: Categories = known.source
    categories.claim(category, owner, with_module(source))
