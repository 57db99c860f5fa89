"""Configuration errors, found before a container starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class ConfigurationError(Exception):
    """An invalid configuration, found before the container starts.

    All problems are reported at once.

    Args:
        problems: One text for each problem; a single text is one problem.
    """

    problems: tuple[str, ...]

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        if len(self.problems) == 1:
            text = self.problems[0]
        else:
            listed = "".join(f"\n  {number}. {problem}" for number, problem in enumerate(self.problems, 1))
            text = f"{len(self.problems)} configuration errors:{listed}"
        super().__init__(text)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


class DeclarationError(ConfigurationError, TypeError, ValueError):
    """A decorator with a wrong argument or on a wrong class, named with its file and line.

    A `TypeError` and a `ValueError` too, as for any wrong argument.
    """


class UnknownOptionError(ConfigurationError, TypeError):
    """An option that does not exist, or one that was given by position. A `TypeError` too, as for any wrong argument."""
