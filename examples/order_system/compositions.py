"""The same modules, put together in two ways. This is the only file that knows how many processes there are."""

from __future__ import annotations

from pathlib import Path

from catga_core import CatgaContainer, CatgaOptions, ConfigurationError, Module, add_catga, add_memory_catga
from catga_core.reliability import QueueOptions, add_queues
from catga_core.sagas import SagaOptions, add_sagas

from .calls import BETWEEN_SERVICES, IN_PROCESS, Patience
from .inventory.domain import Catalog, load_catalog
from .inventory.module import InventoryModule
from .notifications.module import NotificationsModule
from .orders.module import OrdersModule
from .payments.domain import Bank, ExampleBank
from .payments.module import PaymentsModule
from .stores import MEMORY, Store, StoreKind

DATA = Path(__file__).parent / "data"

# Which modules each service is made of.
SERVICES: dict[str, tuple[type[Module], ...]] = {
    "orders": (OrdersModule,),
    "notifications": (NotificationsModule,),
    "payments": (PaymentsModule,),
    "inventory": (InventoryModule,),
}
# Those that keep something, each in a place of its own.
KEEPING = frozenset({"orders", "notifications", "inventory"})
# Seconds until another process continues with the orders and events that a killed one was at.
_LEASE = 2
# Seconds for which the saga of a decided order is kept: it has the number of the card, which the log of events has not.
_KEPT = 24 * 60 * 60.0
# In the header of our SQLite files, so that those of other programs are left alone.
_OURS = int.from_bytes(b"shop")


def one_process(store: Store = MEMORY) -> CatgaContainer:
    """Compose everything into one process, without any server.

    Args:
        store: Where all modules keep their state.
    """
    modules = (module for modules in SERVICES.values() for module in modules)
    return keeping(_compose("order-system", *modules), store)


def service(name: str, nats: str, store: Store = MEMORY) -> CatgaContainer:
    """Compose one service, which finds the others over NATS.

    Args:
        name: Which one.
        nats: Where the server is.
        store: Where the services keep their state, each in its own place there.
    """
    catga = over_nats(_compose(name, *SERVICES[name]), nats, events=True)
    return keeping(catga, store.of(name)) if name in KEEPING else catga


def client(nats: str) -> CatgaContainer:
    """Compose a process that handles nothing and only asks the services."""
    return over_nats(_compose("shop"), nats, events=False)


def keeping(catga: CatgaContainer, store: Store) -> CatgaContainer:
    """Give a composition the place where its state is kept. No handler knows which one it is."""
    # Imported here, so that each runs where the other one is not even installed.
    match store.kind:
        case StoreKind.MEMORY:
            add_memory_catga(catga)
        case StoreKind.SQLITE:
            try:
                from catga_sqlite import SqliteOptions, add_sqlite_catga
            except ImportError:
                raise _missing("sqlite") from None
            options = SqliteOptions(
                store.file,
                # A file that nobody opens again need not be safe from a power cut.
                synchronous="OFF" if store.temporary else "FULL",
                application_id=_OURS,
            )
            add_sqlite_catga(catga, options)
        case StoreKind.REDIS:
            try:
                from catga_redis import RedisOptions, add_redis_catga
            except ImportError:
                raise _missing("redis") from None
            add_redis_catga(catga, RedisOptions(url=store.place, prefix=store.prefix))
    return catga


def _missing(extra: str) -> ConfigurationError:
    return ConfigurationError(
        f'--store {extra} needs what is not installed here: pip install "catga[{extra}]"'
    )


def over_nats(catga: CatgaContainer, nats: str, *, events: bool) -> CatgaContainer:
    """Connect a composition to the others.

    Args:
        catga: The composition.
        nats: Where the server is.
        events: Whether it publishes or handles events: JetStream keeps them until each subscriber has handled them.
    """
    # Here, so that the one process runs where catga-nats is not even installed.
    from catga_nats import NatsOptions, add_nats_catga

    catga.add_singleton(Patience, BETWEEN_SERVICES)
    add_nats_catga(catga, NatsOptions(nats, enable_jetstream=events))
    return catga


def _compose(name: str, *modules: type[Module]) -> CatgaContainer:
    options = CatgaOptions(
        service_name=name,
        # The event of a decision is sent if and only if the decision is committed ...
        enable_outbox=OrdersModule in modules,
        outbox_lease_seconds=_LEASE,
        # ... and a mail is committed together with the record that its event was handled.
        enable_inbox=NotificationsModule in modules,
    )
    catga = add_catga(options)
    if modules:
        # In between, an event is in the queue of its handler: in the store, or in JetStream over NATS.
        add_queues(catga, QueueOptions(lease_seconds=_LEASE))
    if OrdersModule in modules:
        add_sagas(catga, options=SagaOptions(lease_seconds=_LEASE, retention_seconds=_KEPT))
    catga.add_singleton(Patience, IN_PROCESS)
    catga.add_singleton(Bank, ExampleBank())
    catga.add_singleton(Catalog, load_catalog(DATA / "catalog.json"))
    for module in modules:
        catga.add_module(module)
    return catga
