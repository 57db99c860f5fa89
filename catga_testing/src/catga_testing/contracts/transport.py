"""`TransportContract`: every promise of a transport, as one test each."""

from __future__ import annotations

from catga_testing.contracts.transports.base import (
    GarbageSender,
    TransportFactory,
    UpcastingFactory,
)
from catga_testing.contracts.transports.concurrency import ConcurrencyContract
from catga_testing.contracts.transports.containers import ContainersContract
from catga_testing.contracts.transports.context import ContextContract
from catga_testing.contracts.transports.deadlines import DeadlinesContract
from catga_testing.contracts.transports.draining import DrainingContract
from catga_testing.contracts.transports.errors import ErrorsContract
from catga_testing.contracts.transports.events import EventsContract
from catga_testing.contracts.transports.lifecycle import LifecycleContract
from catga_testing.contracts.transports.outcomes import OutcomesContract
from catga_testing.contracts.transports.requests import RequestsContract
from catga_testing.contracts.transports.stream_containers import StreamContainersContract
from catga_testing.contracts.transports.stream_ends import StreamEndsContract
from catga_testing.contracts.transports.streams import StreamsContract
from catga_testing.contracts.transports.wire import WireContract

__all__ = ["GarbageSender", "TransportContract", "TransportFactory", "UpcastingFactory"]


class TransportContract(
    RequestsContract,
    ErrorsContract,
    DeadlinesContract,
    OutcomesContract,
    ConcurrencyContract,
    ContextContract,
    EventsContract,
    StreamsContract,
    StreamEndsContract,
    DrainingContract,
    LifecycleContract,
    WireContract,
    ContainersContract,
    StreamContainersContract,
):
    """The tests a transport has to pass: derive from it and give the fixture `make_transport`.

    ```python
    class TestMyTransport(TransportContract):
        capabilities = TransportCapabilities(remote=True)

        @pytest.fixture
        def make_transport(self) -> TransportFactory:
            network = MyNetwork()
            return lambda clock: MyTransport(network, clock)
    ```

    `make_transport` returns a function that makes one more transport, not yet connected, on the network of this one
    test; its parameter is the clock that deadlines are compared with. A test makes up to five of them, connects,
    serves, drains and closes each once, and stands for as many processes.

    `send_garbage` is a second fixture, for remote transports that want their decoding tested: it returns an `async`
    function that puts bytes on the wire where messages of a type arrive.

    `make_upcasting_transport` is a third one, for transports that hand older requests to the handlers of newer versions: like
    `make_transport`, and the function's second parameter is the container's `MessageRegistry`, which knows the upcasters.

    A test about a capability that the class does not claim by `capabilities` is not collected. Claiming more or less than the
    transport really has fails a test of its own. The tests need pytest-asyncio, in any mode.
    """
