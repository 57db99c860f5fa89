"""`DurableMessagingContract`: the kit of a durable transport in whole applications."""

from __future__ import annotations

from catga_testing.contracts.durable.delivering import DeliveringContract
from catga_testing.contracts.durable.enqueueing import EnqueueingContract
from catga_testing.contracts.durable.keys import KeysContract
from catga_testing.contracts.durable.replays import ReplaysContract
from catga_testing.contracts.durable.stopping import StoppingContract
from catga_testing.contracts.durable.transactions import TransactionsContract


class DurableMessagingContract(
    DeliveringContract,
    KeysContract,
    EnqueueingContract,
    TransactionsContract,
    ReplaysContract,
    StoppingContract,
):
    """The tests of durable messaging, over a queue store or over a broker.

    ```python
    class TestOverMyBroker(DurableMessagingContract):
        remote, transactional = True, False

        @pytest.fixture
        def compose(self) -> Compose:
            def composed(options: CatgaOptions, queues: QueueOptions) -> CatgaContainer:
                catga = add_catga(options)
                add_my_broker(catga, url)
                add_queues(catga, queues)
                return catga

            return composed
    ```

    Every container that `compose` returns in one test is one more process over the same place: the same broker or the same store.
    """
