"""Stand-ins for `datetime` and `date`, whose classes cannot be patched: they are replaced where they are named."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from types import ModuleType
from typing import Any


class _LikeDatetime(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, dt.datetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, dt.datetime)


class _LikeDate(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, dt.date)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, dt.date)


def guarded_datetime(check: Callable[[str], None]) -> type[dt.datetime]:
    """Return a class that makes datetimes, and checks before it asks for the time.

    Args:
        check: Called with the name of what was called.
    """

    class GuardedDatetime(dt.datetime, metaclass=_LikeDatetime):
        def __new__(cls, *args: Any, **options: Any) -> Any:
            return dt.datetime(*args, **options)  # noqa: DTZ001 - as the caller asked

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            check("datetime.now()")
            return dt.datetime.now(tz)

        @classmethod
        def utcnow(cls) -> Any:
            check("datetime.utcnow()")
            return dt.datetime.now(dt.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            check("datetime.today()")
            return dt.datetime.today()  # noqa: DTZ002 - as the caller asked

    return GuardedDatetime


def guarded_date(check: Callable[[str], None]) -> type[dt.date]:
    """Return a class that makes dates, and checks before it asks for the day.

    Args:
        check: Called with the name of what was called.
    """

    class GuardedDate(dt.date, metaclass=_LikeDate):
        def __new__(cls, *args: Any, **options: Any) -> Any:
            return dt.date(*args, **options)

        @classmethod
        def today(cls) -> Any:
            check("date.today()")
            return dt.date.today()  # noqa: DTZ011 - as the caller asked

    return GuardedDate


class GuardedModule(ModuleType):
    """The module `datetime`, with other classes.

    Args:
        classes: The classes, by name.
    """

    def __init__(self, classes: dict[str, Any]) -> None:
        super().__init__("datetime")
        self.__dict__.update(classes)

    def __getattr__(self, name: str) -> Any:
        return getattr(dt, name)
