"""The container: composition, checking, overriding, starting and stopping."""

from catga_core.container.app.adding_stores import add_stores
from catga_core.container.app.container import CatgaApp, CatgaContainer
from catga_core.container.app.modules import Module
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
