"""The same modules, put together in two ways. This is the only file that knows how many processes there are."""

from __future__ import annotations

from pathlib import Path

from catga_core import CatgaContainer, CatgaOptions, ConfigurationError, Module, add_catga, add_memory_catga

from .calls import BETWEEN_SERVICES, IN_PROCESS, Caller, Patience
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
    "orders": (OrdersModule, NotificationsModule),
    "payments": (PaymentsModule,),
    "inventory": (InventoryModule,),
}
# Those that keep something, each in a place of its own.
KEEPING = frozenset({"orders", "inventory"})
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
    catga = over_nats(_compose(name, *SERVICES[name]), nats)
    return keeping(catga, store.of(name)) if name in KEEPING else catga


def client(nats: str) -> CatgaContainer:
    """Compose a process that handles nothing and only asks the services."""
    return over_nats(_compose("shop"), nats)


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


def over_nats(catga: CatgaContainer, nats: str) -> CatgaContainer:
    """Connect a composition to the others."""
    # Here, so that the one process runs where catga-nats is not even installed.
    from catga_nats import add_nats_catga

    catga.add_singleton(Patience, BETWEEN_SERVICES)
    add_nats_catga(catga, nats)
    return catga


def _compose(name: str, *modules: type[Module]) -> CatgaContainer:
    catga = add_catga(_options(name, tells=OrdersModule in modules))
    catga.add_singleton(Patience, IN_PROCESS)
    catga.add_singleton(Caller)
    catga.add_singleton(Bank, ExampleBank())
    catga.add_singleton(Catalog, load_catalog(DATA / "catalog.json"))
    for module in modules:
        catga.add_module(module)
    return catga


def _options(name: str, *, tells: bool) -> CatgaOptions:
    """Return the options of a composition.

    Args:
        name: What the service is called.
        tells: Whether decisions are made and told in it: what is told is sent when its transaction is committed, and has
            its effect once.
    """
    return CatgaOptions(
        service_name=name,
        enable_outbox=tells,
        enable_inbox=tells,
        # What a killed process was about to send waits for so long until another one sends it.
        outbox_lease_seconds=2,
    )
