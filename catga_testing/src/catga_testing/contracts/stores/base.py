"""The fixtures that all store kits share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from catga_core import SystemClock
from catga_core.interfaces import StorageCapabilities, Stores
from catga_core.interfaces.service_type import ServiceType
from catga_testing.clock import ManualClock
from catga_testing.contracts.kept import Contract
from catga_testing.contracts.stores.place import Connection, Place, StoresFactory, StoreTime

T = TypeVar("T")


def _overridable(function: Callable[..., Any]) -> Any:
    # A subclass may give the fixture by pytest.fixture or by pytest_asyncio.fixture, whose types differ.
    return pytest.fixture(function)


class StoresContractBase(Contract):
    """What a subclass gives, and what is made of it."""

    @_overridable
    def make_stores(self) -> StoresFactory:
        """Return what makes one more set of stores over this test's place: the fixture every subclass gives."""
        msg = (
            f"{type(self).__name__} gives no stores: write @pytest.fixture def make_stores(self), returning a function "
            "that takes a clock and makes a set of stores over the place of this test"
        )
        raise NotImplementedError(msg)

    @_overridable
    def connection(self) -> Connection | None:
        """Return the way to the server, which the kit may cut; `None` skips the tests that need it."""
        return None

    @pytest.fixture
    def capabilities(self, make_stores: StoresFactory) -> StorageCapabilities:
        """Return what the storage says it can do."""
        return make_stores(SystemClock()).storage.capabilities

    @pytest.fixture
    def time(self, capabilities: StorageCapabilities) -> StoreTime:
        """Return the time of this test."""
        return StoreTime(
            moves=capabilities.clock, clock=ManualClock() if capabilities.clock else SystemClock()
        )

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

    @pytest_asyncio.fixture(loop_scope="function", params=["one process", "two processes"])
    async def pair(
        self, request: pytest.FixtureRequest, place: Place, capabilities: StorageCapabilities
    ) -> tuple[Stores, Stores]:
        """Return two that use the same place: once the same set of stores, once one for each of two processes."""
        if request.param == "one process":
            only = await place.open()
            return only, only
        requires(capabilities, shared=True)
        return await place.open(), await place.open()


def requires(capabilities: StorageCapabilities, **wanted: bool) -> None:
    """Skip a test that is about a capability the storage has not (or has), naming the capability.

    Parameters:
        capabilities: of the storage.
        wanted: capabilities by name, each as the test needs it.
    """
    for name, value in wanted.items():
        if getattr(capabilities, name) is not value:
            pytest.skip(f"StorageCapabilities.{name} is {not value}")


def present(stores: Stores, port: ServiceType[T]) -> T:
    """Return a store; skip the test where there is none, naming the port.

    Args:
        stores: the stores.
        port: the store's port.
    """
    found = stores.get(port)
    if found is None:
        pytest.skip(f"Stores has no {getattr(port, '__name__', port)}")
    return found


def both(pair: tuple[Stores, Stores], port: ServiceType[T]) -> tuple[T, T]:
    """Return the stores of one port of two sets."""
    return present(pair[0], port), present(pair[1], port)
