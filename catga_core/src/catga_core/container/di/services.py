"""How what implements a service is typed, so that a type checker refuses what does not fit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TypeAlias, TypeVar

from dependency_injector.providers import Provider

from catga_core.interfaces.service_type import ServiceType

__all__ = ["Implementation", "ServiceType"]

S = TypeVar("S")

Implementation: TypeAlias = (
    Callable[..., S]
    | Callable[..., Awaitable[S]]
    | Callable[..., Iterator[S]]
    | Callable[..., AsyncIterator[S]]
    | Callable[..., AbstractContextManager[S]]
    | Callable[..., AbstractAsyncContextManager[S]]
    | Provider[S]
    | S
)
"""What can stand for a service `S`: a class, a factory of any kind, a provider, or an object."""
