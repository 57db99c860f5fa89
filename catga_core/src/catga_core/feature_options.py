"""`FeatureOptions`: the base of a feature's own options, in code or from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

import msgspec

from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import snake_case
from catga_core.option_checks import MOST_SECONDS, OptionsType, is_number, shown_number
from catga_core.url_options import suggestion

_PREFIX = "CATGA_"


class FeatureOptions(msgspec.Struct, frozen=True, kw_only=True, metaclass=OptionsType):
    """The base of a feature's own options.

    Derive `OutboxOptions` from it for variables that begin with `CATGA_OUTBOX_`. Fields that end in `_seconds` are
    times above 0; override `check` for other rules.
    """

    def __post_init__(self) -> None:
        """Check the options as soon as they are given.

        Raises:
            ConfigurationError: Listing every option that cannot work.
        """
        problems = _wrong_types(self) or [*_wrong_times(self), *self.check()]
        if problems:
            raise ConfigurationError(problems)

    def check(self) -> list[str]:
        """Return what else is wrong with the options, for a subclass to override."""
        return []

    @classmethod
    def env_prefix(cls) -> str:
        """Return what the names of the options' environment variables begin with."""
        return f"{_PREFIX}{snake_case(cls.__name__.removesuffix('Options')).upper()}_"

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the options from the environment, such as `CATGA_OUTBOX_BATCH_SIZE`.

        Args:
            environment: `None` for the process's own.

        Raises:
            ConfigurationError: Naming every variable that is unknown or cannot be read.
        """
        found = os.environ if environment is None else environment
        prefix = cls.env_prefix()
        fields = {field.name: field.type for field in msgspec.structs.fields(cls)}
        values: dict[str, Any] = {}
        problems: list[str] = []
        for variable in sorted(name for name in found if name.startswith(prefix)):
            name = variable.removeprefix(prefix).lower()
            if name not in fields:
                known = [prefix + field.upper() for field in fields]
                problems.append(f"{variable} is not an option: {suggestion(variable, known)}")
                continue
            try:
                values[name] = read_variable(found[variable], fields[name])
            except msgspec.ValidationError as cause:
                problems.append(f"{variable} cannot be read: {cause}.")
        if problems:
            raise ConfigurationError(problems)
        return cls(**values)


def is_feature_variable(variable: str) -> bool:
    """Tell whether an environment variable is an option of a feature that is imported."""
    return any(
        variable == each.env_prefix() + field.upper()
        for each in FeatureOptions.__subclasses__()
        for field in each.__struct_fields__
    )


def read_variable(text: str, type_: Any) -> Any:
    """Return the value that an environment variable gives for an option.

    Raises:
        msgspec.ValidationError: When it is not one.
    """
    lowered = {"yes": "true", "on": "true", "no": "false", "off": "false", "": "null"}.get(text.lower(), text)
    return msgspec.convert(lowered, type_, strict=False)


def _wrong_types(options: FeatureOptions) -> list[str]:
    problems: list[str] = []
    for field in msgspec.structs.fields(options):
        value = getattr(options, field.name)
        try:
            msgspec.convert(value, field.type)
        except msgspec.ValidationError as cause:
            problems.append(f"{_named(options, field.name)} is of the wrong type: {cause}.")
    return problems


def _wrong_times(options: FeatureOptions) -> list[str]:
    return [
        f"{_named(options, name)} must be a finite number of seconds above 0."
        for name in options.__struct_fields__
        if name.endswith("_seconds") and not _is_time(getattr(options, name))
    ]


def _is_time(seconds: Any) -> bool:
    return seconds is None or (is_number(seconds) and 0 < seconds <= MOST_SECONDS)


def _named(options: FeatureOptions, name: str) -> str:
    return f"{type(options).__name__}({name}={shown_number(getattr(options, name))})"
