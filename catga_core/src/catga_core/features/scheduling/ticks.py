"""The times of a schedule, by a cron expression or by an interval."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from catga_core.option_checks import MOST_SECONDS, check_seconds

_MILLISECOND = 1_000


class Ticks(Protocol):
    """The times of a schedule, in milliseconds since the Unix epoch."""

    @property
    def text(self) -> str:
        """The schedule in words, the same for the same times."""
        ...

    @property
    def timezone(self) -> tzinfo:
        """The time zone of the times that are given to commands."""
        ...

    def after(self, moment: int, /) -> Iterator[int]:
        """Yield the ticks after a moment, in order."""
        ...

    def latest(self, moment: int, /) -> int | None:
        """Return the last tick at or before a moment, `None` where there is none."""
        ...


class CronTicks:
    """Ticks by a cron expression, with the rules of Debian's cron for changes of daylight saving time.

    A job at a fixed time that the change to summer time skips runs right after the change; one in the hour that the change to
    winter time repeats runs once. Expressions with a star for minute or hour, and those with six fields, follow the clock: they
    run in both of the repeated hours, and in none that is skipped.

    Args:
        expression: Five fields, or six with the seconds first.
        timezone: The time zone of the expression.

    Raises:
        ValueError: It is not a cron expression, or has no tick.
    """

    def __init__(self, expression: str, timezone: tzinfo) -> None:
        self._expression = expression
        self.timezone: tzinfo = timezone
        try:
            found = next(CronSim(expression, datetime.now(timezone)), None)
        except CronSimError as error:
            msg = (
                f"cron must be an expression of five fields, or six with the seconds first; got {expression!r}: {error}. Write "
                "it as '30 2 * * *'."
            )
            raise ValueError(msg) from None
        if found is None:
            msg = f"cron={expression!r} has no tick within 50 years. Correct its day and month."
            raise ValueError(msg)

    @property
    def text(self) -> str:
        """The expression and its time zone."""
        return f"cron {self._expression} {self.timezone}"

    def after(self, moment: int, /) -> Iterator[int]:
        """Yield the ticks after a moment, in order."""
        for tick in CronSim(self._expression, _datetime(moment, self.timezone)):
            yield _milliseconds(tick)

    def latest(self, moment: int, /) -> int | None:
        """Return the last tick at or before a moment, `None` where there is none within 50 years."""
        # Backwards from the next second, because the iteration leaves out where it begins.
        second = moment // _MILLISECOND + 1
        backwards = CronSim(self._expression, _datetime(second * _MILLISECOND, self.timezone), reverse=True)
        return next((tick for each in backwards if (tick := _milliseconds(each)) <= moment), None)


class IntervalTicks:
    """Ticks at multiples of an interval since the Unix epoch, so that every replica has the same.

    Args:
        seconds: The interval.

    Raises:
        ValueError: It is shorter than a millisecond.
    """

    def __init__(self, seconds: float) -> None:
        check_seconds("every", seconds, least=0.001, most=MOST_SECONDS)
        self._interval = round(seconds * _MILLISECOND)
        self.timezone: tzinfo = UTC

    @property
    def text(self) -> str:
        """The interval."""
        return f"every {self._interval} ms"

    def after(self, moment: int, /) -> Iterator[int]:
        """Yield the ticks after a moment, in order."""
        tick = moment - moment % self._interval
        while True:
            tick += self._interval
            yield tick

    def latest(self, moment: int, /) -> int | None:
        """Return the last tick at or before a moment."""
        return moment - moment % self._interval


def ticks_of(every: float | timedelta | None, cron: str | None, timezone: str | tzinfo | None) -> Ticks:
    """Return the ticks of a schedule.

    Args:
        every: The interval, in seconds or as a `timedelta`; `None` with `cron`.
        cron: A cron expression; `None` with `every`.
        timezone: The time zone of `cron`, as an IANA name or a `tzinfo`; `None` for UTC, and with `every`.

    Raises:
        ValueError: Neither or both of `every` and `cron` are given, or one of the arguments is invalid.
        TypeError: An argument is of a wrong type.
    """
    zone = _timezone(timezone)
    if (every is None) == (cron is None):
        msg = f"a schedule takes either every= or cron=; got every={every!r} and cron={cron!r}. Pass one of them."
        raise ValueError(msg)
    if cron is not None:
        expression: object = cron
        if not isinstance(expression, str):
            msg = f"cron must be a str; got {cron!r}. Write it as '30 2 * * *'."
            raise TypeError(msg)
        return CronTicks(cron, zone)
    interval: object = every.total_seconds() if isinstance(every, timedelta) else every
    if isinstance(interval, bool) or not isinstance(interval, int | float):
        msg = f"every must be seconds or a timedelta; got {every!r}. Pass timedelta(hours=1)."
        raise TypeError(msg)
    if timezone is not None:
        msg = (
            f"timezone must be None with every=, whose ticks are multiples of the interval since the Unix epoch; got "
            f"{timezone!r}. Pass cron= for times of day, or convert the tick in the function: tick.astimezone(...)."
        )
        raise ValueError(msg)
    return IntervalTicks(interval)


def moment_of(tick: int, timezone: tzinfo) -> datetime:
    """Return a tick as a time.

    Args:
        tick: Milliseconds since the Unix epoch.
        timezone: The time zone.
    """
    return _datetime(tick, timezone)


def _datetime(moment: int, timezone: tzinfo) -> datetime:
    seconds, rest = divmod(moment, _MILLISECOND)
    return datetime.fromtimestamp(seconds, timezone).replace(microsecond=rest * 1_000)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * _MILLISECOND)


def _timezone(timezone: object) -> tzinfo:
    if timezone is None:
        return UTC
    if isinstance(timezone, tzinfo):
        return timezone
    if not isinstance(timezone, str):
        msg = f"timezone must be an IANA name, a tzinfo or None; got {timezone!r}. Pass 'Europe/Berlin'."
        raise TypeError(msg)
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        msg = f"timezone={timezone!r} is not known here. Pass an IANA name such as 'Europe/Berlin', or install tzdata."
        raise ValueError(msg) from None
