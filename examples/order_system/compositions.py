"""The same modules, put together in two ways. This is the only file that knows how many processes there are."""

from __future__ import annotations

from pathlib import Path

from catga_core import CatgaContainer, CatgaOptions, Module, add_catga

from .calls import Caller
from .inventory.domain import Catalog, load_catalog
from .inventory.module import InventoryModule
from .notifications.module import NotificationsModule
from .orders.module import OrdersModule
from .payments.domain import Bank, ExampleBank
from .payments.module import PaymentsModule

DATA = Path(__file__).parent / "data"

# Which modules each service is made of.
SERVICES: dict[str, tuple[type[Module], ...]] = {
    "orders": (OrdersModule, NotificationsModule),
    "payments": (PaymentsModule,),
    "inventory": (InventoryModule,),
}


def one_process() -> CatgaContainer:
    """Compose everything into one process, without any server."""
    return _compose("order-system", *(module for modules in SERVICES.values() for module in modules))


def service(name: str, nats: str) -> CatgaContainer:
    """Compose one service, which finds the others over NATS."""
    return over_nats(_compose(name, *SERVICES[name]), nats)


def client(nats: str) -> CatgaContainer:
    """Compose a process that handles nothing and only asks the services."""
    return over_nats(_compose("shop"), nats)


def over_nats(catga: CatgaContainer, nats: str) -> CatgaContainer:
    """Connect a composition to the others."""
    # Here, so that the one process runs where catga-nats is not even installed.
    from catga_nats import add_nats_catga

    add_nats_catga(catga, nats)
    return catga


def _compose(name: str, *modules: type[Module]) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name=name))
    catga.add_singleton(Caller)
    catga.add_singleton(Bank, ExampleBank())
    catga.add_singleton(Catalog, load_catalog(DATA / "catalog.json"))
    for module in modules:
        catga.add_module(module)
    return catga
