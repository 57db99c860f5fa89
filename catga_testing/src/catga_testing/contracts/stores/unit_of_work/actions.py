"""What is done before the commit, and after it."""

from __future__ import annotations

from functools import partial

import pytest

from catga_core import CatgaError, ErrorCode
from catga_core.interfaces import Stores
from catga_testing.contracts.stores.base import StoresContractBase
from catga_testing.contracts.stores.place import outside
from catga_testing.contracts.stores.unit_of_work.atomic import Refused
from catga_testing.contracts.stores.unit_of_work.writes import prepared


class ActionsContract(StoresContractBase):
    """Actions registered with a unit of work, and the handle of its transaction."""

    async def test_an_action_before_the_commit_is_in_the_transaction(self, stores: Stores) -> None:
        """After the block's own work, once, awaited where it can be."""
        writes = await prepared(stores)
        done: list[str] = []

        async def write_all() -> None:
            done.append("before")
            for write in writes:
                await write.done()
            seen = [await outside(partial(write.there, stores)) for write in writes]
            assert not any(seen)

        async with stores.storage.unit_of_work() as unit:
            unit.before_commit(write_all)
            unit.before_commit(lambda: done.append("plain"))
            done.append("block")

        assert done == ["block", "before", "plain"]
        assert all([await write.there(stores) for write in writes])

    @pytest.mark.parametrize("awaited", [False, True])
    async def test_an_action_before_the_commit_that_raises_rolls_everything_back(
        self, stores: Stores, awaited: bool
    ) -> None:
        """And what it raised leaves the block."""
        writes = await prepared(stores)
        after: list[str] = []

        def refuse() -> None:
            raise Refused

        async def refuse_later() -> None:
            raise Refused

        with pytest.raises(Refused):
            async with stores.storage.unit_of_work() as unit:
                unit.before_commit(refuse_later if awaited else refuse)
                unit.after_commit(lambda: after.append("after"))
                for write in writes:
                    await write.done()

        assert not any([await write.there(stores) for write in writes])
        assert after == []

    async def test_a_block_that_raises_calls_neither(self, stores: Stores) -> None:
        """There is no commit."""
        called: list[str] = []

        with pytest.raises(Refused):
            async with stores.storage.unit_of_work() as unit:
                unit.before_commit(lambda: called.append("before"))
                unit.after_commit(lambda: called.append("after"))
                raise Refused

        assert called == []

    async def test_actions_after_the_commit_are_called_in_their_order_once(self, stores: Stores) -> None:
        """Not before the outermost block is left."""
        called: list[int] = []

        async with stores.storage.unit_of_work() as unit:
            unit.after_commit(lambda: called.append(1))
            async with stores.storage.unit_of_work() as inner:
                inner.after_commit(lambda: called.append(2))
                inner.before_commit(lambda: called.append(0))
            unit.after_commit(lambda: called.append(3))
            early = list(called)
        async with stores.storage.unit_of_work():
            pass

        assert early == []
        assert called == [0, 1, 2, 3]

    async def test_the_connection_is_there_where_the_storage_has_one(self, stores: Stores) -> None:
        """While the unit of work is; where there is none, the error says so."""
        async with stores.storage.unit_of_work() as unit:
            if self.capabilities.connection:
                assert unit.connection is not None
            else:
                with pytest.raises(CatgaError) as raised:
                    _ = unit.connection
                assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
                assert raised.value.message

        with pytest.raises(CatgaError) as raised:
            _ = unit.connection
        assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
