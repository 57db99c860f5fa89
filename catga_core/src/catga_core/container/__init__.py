"""The container: composition, checking, overriding, starting and stopping."""

from catga_core.container.app.application import CatgaApp
from catga_core.container.app.container import CatgaContainer
from catga_core.container.app.modules import Module
from catga_core.container.app.stores import add_stores
from catga_core.container.di.overrides import Override
from catga_core.container.di.provider import ServiceProvider
from catga_core.container.di.registration import Lifetime
from catga_core.container.di.services import Implementation, ServiceType

__all__ = [
    "CatgaApp",
    "CatgaContainer",
    "Implementation",
    "Lifetime",
    "Module",
    "Override",
    "ServiceProvider",
    "ServiceType",
    "add_stores",
]
