"""Registering, asking for and overriding services."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import assert_type

from dependency_injector.providers import Factory, Object, Singleton
from shop import (
    Gateway,
    Mailer,
    OrderResult,
    OrderStore,
    QuietMailer,
    Repository,
    SqlRepository,
    Store,
    Stripe,
    Unrelated,
)

from catga_core import (
    Catga,
    CatgaApp,
    CatgaContainer,
    CatgaMediator,
    CatgaOptions,
    Clock,
    Module,
    Serializer,
    SystemClock,
    Transport,
    add_catga,
    add_module,
)
from catga_core.container import Override, ServiceProvider


def make(gateway: Gateway) -> SqlRepository:
    return SqlRepository(gateway)


async def make_later(gateway: Gateway) -> SqlRepository:
    return SqlRepository(gateway)


def opened() -> Iterator[Stripe]:
    yield Stripe()


def opened_as_generator() -> Generator[Stripe, None, None]:
    yield Stripe()


async def opened_later() -> AsyncIterator[Stripe]:
    yield Stripe()


async def opened_later_as_generator() -> AsyncGenerator[Stripe, None]:
    yield Stripe()


@contextmanager
def opened_with() -> Generator[Stripe, None, None]:
    yield Stripe()


@asynccontextmanager
async def opened_later_with() -> AsyncGenerator[Stripe, None]:
    yield Stripe()


@asynccontextmanager
async def opened_wrong_with() -> AsyncGenerator[Unrelated, None]:
    yield Unrelated()


def make_wrong() -> Unrelated:
    return Unrelated()


async def make_wrong_later() -> Unrelated:
    return Unrelated()


def opened_wrong() -> Iterator[Unrelated]:
    yield Unrelated()


async def opened_wrong_later() -> AsyncIterator[Unrelated]:
    yield Unrelated()


def fits(catga: CatgaContainer, gateway: Stripe) -> None:
    # A class as itself.
    catga.add_singleton(Mailer)
    catga.add_scoped(Mailer)
    catga.add_transient(Mailer, name="mail")
    # A class: nominal, ABC, Protocol, generic.
    catga.add_singleton(Mailer, QuietMailer)
    catga.add_scoped(Repository, SqlRepository)
    catga.add_transient(Gateway, Stripe)
    catga.add_singleton(Store[OrderResult], OrderStore)
    catga.add_singleton(Clock, SystemClock)
    # Factories of every kind.
    catga.add_singleton(Repository, make)
    catga.add_singleton(Repository, make_later)
    catga.add_singleton(Repository, partial(make, gateway=gateway))
    catga.add_transient(Mailer, lambda: QuietMailer("smtp"))
    catga.add_scoped(Gateway, opened)
    catga.add_scoped(Gateway, opened_as_generator)
    catga.add_scoped(Gateway, opened_later)
    catga.add_scoped(Gateway, opened_later_as_generator)
    catga.add_scoped(Gateway, opened_with)
    catga.add_scoped(Gateway, opened_later_with)
    # Objects and dependency-injector's providers.
    catga.add_singleton(Gateway, gateway)
    catga.add_singleton(Mailer, QuietMailer())
    catga.add_singleton(Mailer, QuietMailer(), instance=True)
    catga.add_singleton(Repository, Factory(SqlRepository, gateway))
    catga.add_singleton(Gateway, Singleton(Stripe))
    catga.add_singleton(Gateway, Object(gateway))


def does_not_fit(catga: CatgaContainer) -> None:
    catga.add_singleton(Mailer, Unrelated)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_scoped(Mailer, Unrelated)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_transient(Mailer, Unrelated)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_hosted(Mailer, Unrelated)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_singleton(Repository, Unrelated)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_singleton(Gateway, Unrelated)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_singleton(Store[str], OrderStore)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_singleton(QuietMailer, Mailer)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_singleton(Mailer, make_wrong)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_singleton(Gateway, make_wrong)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_singleton(Repository, make_wrong_later)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_scoped(Gateway, opened_wrong)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_scoped(Gateway, opened_wrong_later)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_scoped(Gateway, opened_wrong_with)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_transient(Mailer, lambda: Unrelated())  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_singleton(Mailer, Unrelated())  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_singleton(Gateway, Unrelated())  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_singleton(Repository, Factory(Unrelated))  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_singleton("mailer", Mailer)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_singleton(Mailer, lifetime="scoped")  # E: mypy[call-arg] pyright[reportCallIssue]
    catga.add_scoped(Mailer, QuietMailer(), instance=True)  # E: mypy[call-arg] pyright[reportCallIssue]


async def asked_for(catga: CatgaContainer) -> None:
    async with catga.running() as app:
        assert_type(app, CatgaApp)
        assert_type(app.get(Gateway), Gateway)
        assert_type(app.get(Repository), Repository)
        assert_type(app.get(Mailer), Mailer)
        assert_type(app.get(Store[OrderResult]), Store[OrderResult])
        assert_type(catga.get(Gateway), Gateway)
        assert_type(catga.provider(Mailer), ServiceProvider[Mailer])
        assert_type(app.mediator, CatgaMediator)
        assert_type(app.transport, Transport)
        assert_type(app.serializer, Serializer)
        assert_type(app.clock, Clock)
        wrong: Unrelated = app.get(Mailer)  # E: mypy[assignment] pyright[reportAssignmentType]
        print(wrong)


def replaced(catga: CatgaContainer, gateway: Stripe) -> None:
    with catga.override(Gateway, gateway) as layer:
        assert_type(layer, Override)
    with catga.override(Repository, SqlRepository):
        pass
    with catga.override("mailer", Mailer()), catga.override(Mailer, Unrelated(), instance=True):
        pass
    catga.override(Gateway, gateway).restore()


class Orders(Module):
    needs = (Gateway, Mailer)

    def register(self, catga: CatgaContainer) -> None:
        catga.add_scoped(Repository, SqlRepository)


def composed() -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name="orders", timeout_seconds=3))
    assert_type(catga, Catga)
    add_module(catga, Orders)
    catga.add_module(Orders())
    add_module(catga, Unrelated)  # E: mypy[arg-type] pyright[reportArgumentType]
    add_catga(CatgaOptions(servcie_name="orders"))  # E: mypy[call-arg] pyright[reportCallIssue]
    add_catga(CatgaOptions(max_concurrent_requests="many"))  # E: mypy[arg-type] pyright[reportArgumentType]
    return catga
