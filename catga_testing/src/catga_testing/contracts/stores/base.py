"""The fixtures that all store kits share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar, TypeVar

import pytest
import pytest_asyncio

from catga_core import SystemClock
from catga_core.interfaces import StorageCapabilities, Stores
from catga_core.interfaces.service_type import ServiceType
from catga_testing.clock import ManualClock
from catga_testing.contracts.kept import Contract
from catga_testing.contracts.stores.place import Place, StoresFactory, StoreTime

T = TypeVar("T")

_ONE_PROCESS = "one process"


def _overridable(function: Callable[..., Any]) -> Any:
    # A subclass may give the fixture by pytest.fixture or by pytest_asyncio.fixture, whose types differ.
    return pytest.fixture(function)


class StoresContractBase(Contract):
    """What a subclass states and gives, and what is made of it."""

    capabilities: ClassVar[StorageCapabilities] = StorageCapabilities(
        durable=False, shared=False, immediate=False, connection=False
    )
    """The capabilities the class claims; a test about another capability is not collected."""

    @_overridable
    def make_stores(self) -> StoresFactory:
        """Return what makes one more set of stores over this test's place: the fixture every subclass gives."""
        msg = (
            f"{type(self).__name__} gives no stores: write @pytest.fixture def make_stores(self), returning a function "
            "that takes a clock and makes a set of stores over the place of this test"
        )
        raise NotImplementedError(msg)

    @pytest.fixture
    def time(self) -> StoreTime:
        """Return the time of this test."""
        moves = self.capabilities.clock
        return StoreTime(moves=moves, clock=ManualClock() if moves else SystemClock())

    @pytest_asyncio.fixture(loop_scope="function")
    async def place(self, make_stores: StoresFactory, time: StoreTime) -> AsyncIterator[Place]:
        """Give the place of one test, and stop what is left open over it."""
        place = Place(make_stores, time.clock)
        try:
            yield place
        finally:
            await place.close_all()

    @pytest_asyncio.fixture(loop_scope="function")
    async def stores(self, place: Place) -> Stores:
        """Return one set of stores, started."""
        return await place.open()

    @pytest_asyncio.fixture(loop_scope="function")
    async def pair(self, request: pytest.FixtureRequest, place: Place) -> tuple[Stores, Stores]:
        """Return two that use the same place: once the same set of stores, once one for each of two processes."""
        first = await place.open()
        return first, first if request.param == _ONE_PROCESS else await place.open()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test of two sets of stores for two processes as well, where the storage is shared."""
        if "pair" in metafunc.fixturenames:
            processes = [_ONE_PROCESS, "two processes"] if self.capabilities.shared else [_ONE_PROCESS]
            metafunc.parametrize("pair", processes, indirect=True)

    async def test_claimed_capabilities_are_those_of_the_storage(self, make_stores: StoresFactory) -> None:
        """Claiming less would leave tests out, claiming more would fail for another reason than the real one."""
        actual = make_stores(SystemClock()).storage.capabilities

        assert self.capabilities == actual, (
            f"{type(self).__name__} claims {self.capabilities}. Write: capabilities = {actual}"
        )

    async def test_claimed_ports_have_stores(self, make_stores: StoresFactory) -> None:
        """Every one of them."""
        stores = make_stores(SystemClock())

        missing = [_name(port) for port in self.ports if port not in stores]
        assert not missing, (
            f"{type(self).__name__} claims {', '.join(missing)}; the storage has no such store"
        )


def _name(port: Any) -> str:
    return str(getattr(port, "__name__", port))


def both(pair: tuple[Stores, Stores], port: ServiceType[T]) -> tuple[T, T]:
    """Return the stores of one port of two sets."""
    return pair[0][port], pair[1][port]
