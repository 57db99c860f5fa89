"""The container: composition, checking, overriding, starting and stopping."""

from catga_core.container.application import CatgaApp
from catga_core.container.container import CatgaContainer
from catga_core.container.modules import Module
from catga_core.container.overrides import Override
from catga_core.container.provider import ServiceProvider
from catga_core.container.registration import Lifetime
from catga_core.container.services import Implementation, ServiceType
from catga_core.container.stores import add_stores

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
