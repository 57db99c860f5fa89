"""The container: composition, checking, overriding, starting and stopping."""

from catga_core.container.application import CatgaApp
from catga_core.container.container import CatgaContainer, ServiceType
from catga_core.container.modules import Module
from catga_core.container.overrides import Override
from catga_core.container.provider import ServiceProvider
from catga_core.container.registration import Lifetime

__all__ = ["CatgaApp", "CatgaContainer", "Lifetime", "Module", "Override", "ServiceProvider", "ServiceType"]
