"""What every contract kit has: its tests run under any asyncio mode, and none can be dropped in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec
import pytest

from catga_core.interfaces.port import port_of

T = TypeVar("T")


class Needs(msgspec.Struct, frozen=True):
    """What a class has to claim for a test to be collected.

    Args:
        ports: The ports it has to claim.
        claims: Capabilities, or attributes of the class, by name, each with the value it has to have.
    """

    ports: tuple[Any, ...]
    claims: Mapping[str, bool]


def needs(*ports: Any, **claims: bool) -> Callable[[T], T]:
    """Have a test of a kit collected only where the class claims what the test is about.

    Args:
        *ports: The ports the test uses besides the kit's own.
        **claims: Capabilities by name, each with the value the test is about.
    """

    def marked(test: T) -> T:
        test.catga_needs = Needs(ports, claims)  # type: ignore[attr-defined]  # read by Contract.collects
        return test

    return marked


class Contract:
    """The base of a contract kit.

    A plugin's author derives a test class from a kit, states what the plugin claims and gives the kit's fixtures. Overriding a
    kit's test takes a reason: `@pytest.mark.xfail(reason="...")`.
    """

    ports: ClassVar[tuple[Any, ...]] = ()
    """The ports the class claims; a test about another port is not collected."""

    # Said here, so that neither the user's asyncio_mode nor a default loop scope has a say in how the tests run.
    pytestmark: ClassVar[list[pytest.MarkDecorator]] = [pytest.mark.asyncio(loop_scope="function")]

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a subclass without the test that guards all others."""
        super().__init_subclass__(**options)
        if "test_no_test_was_dropped" in vars(cls) and Contract in cls.__mro__[1:]:
            msg = f"{cls.__name__} replaces test_no_test_was_dropped, which guards the others: remove it"
            raise TypeError(msg)

    @classmethod
    def collects(cls, test: object) -> bool:
        """Return whether a test is about something that the class claims.

        Args:
            test: A function of the kit, or the class's own.
        """
        needed: Needs | None = getattr(test, "catga_needs", None)
        if needed is None:
            return True
        return set(needed.ports) <= set(cls.ports) and all(
            _claim(cls, name) is value for name, value in needed.claims.items()
        )

    async def test_no_test_was_dropped(self) -> None:
        """Every test of the kit is there as the kit has it, or marked xfail with a reason."""
        dropped = dropped_tests(type(self))

        assert not dropped, (
            f"{type(self).__name__} leaves out what the kit tests: {', '.join(dropped)}. Remove the override, or mark "
            'it @pytest.mark.xfail(reason="why it cannot hold")'
        )


def dropped_tests(cls: type[Contract]) -> list[str]:
    """Return the names of the kit's tests that a subclass removed, or replaced without an xfail and its reason.

    Args:
        cls: A test class derived from a kit.
    """
    found: list[str] = []
    for name, original in _kit_tests(cls).items():
        actual = getattr(cls, name, None)
        if actual is not original and not _excused(actual):
            found.append(name)
    return sorted(found)


def _kit_tests(cls: type[Contract]) -> dict[str, object]:
    tests: dict[str, object] = {}
    # The kits of catga_testing, and those that the ports of others declare.
    declared = [known.load_kit() for port in cls.ports if (known := port_of(port)) is not None]
    kits = {base for kit in declared if kit is not None for base in kit.__mro__}
    for base in reversed(cls.__mro__):
        if base in kits or base.__module__.partition(".")[0] == __name__.partition(".")[0]:
            tests.update({name: value for name, value in vars(base).items() if name.startswith("test_")})
    return tests


def _claim(cls: type[Contract], name: str) -> object:
    capabilities = getattr(cls, "capabilities", None)
    return getattr(capabilities, name) if hasattr(capabilities, name) else getattr(cls, name)


def _excused(test: object) -> bool:
    marks: list[pytest.Mark] = getattr(test, "pytestmark", [])
    return any(mark.name == "xfail" and str(mark.kwargs.get("reason", "")).strip() for mark in marks)
