"""Who may connect to a test server."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

from catga_testing.servers.keys import KeyPair, Role
from catga_testing.servers.tokens import account_token, operator_token, user_token

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class NatsAuth(Protocol):
    """What a server asks of its clients before it serves them."""

    def config(self) -> Mapping[str, object]:
        """Return the top-level entries for the server's configuration file."""
        ...


@dataclass(frozen=True, slots=True)
class TokenAuth:
    """Clients show one shared token; without an argument a random one is made."""

    token: str = field(default_factory=secrets.token_hex, repr=False)

    def config(self) -> Mapping[str, object]:
        """Return the top-level entries for the server's configuration file."""
        return {"authorization": {"token": self.token}}


@dataclass(frozen=True, slots=True)
class UserAuth:
    """Clients show a user name and a password; without a password a random one is made."""

    user: str
    password: str = field(default_factory=secrets.token_hex, repr=False)

    def config(self) -> Mapping[str, object]:
        """Return the top-level entries for the server's configuration file."""
        return {"authorization": {"users": [{"user": self.user, "password": self.password}]}}


@dataclass(frozen=True, slots=True)
class NkeyAuth:
    """Clients sign a challenge with the private half of a key whose public half the server knows."""

    public_key: str
    seed: str = field(default="", repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a new user key; its `seed` is what a client connects with.

        Raises:
            ModuleNotFoundError: The package `nkeys` is not installed.

        """
        key = KeyPair.generate(Role.USER)
        return cls(key.public_key, key.seed)

    def config(self) -> Mapping[str, object]:
        """Return the top-level entries for the server's configuration file."""
        return {"authorization": {"users": [{"nkey": self.public_key}]}}


@dataclass(frozen=True, slots=True)
class JwtAuth:
    """Clients show a credentials file: a token signed by an account that the server's operator vouches for."""

    operator: str = field(repr=False)
    account: str
    account_jwt: str = field(repr=False)
    system_account: str
    system_account_jwt: str = field(repr=False)
    credentials: str = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make an operator, an account with JetStream, and one user in it who may do everything.

        Raises:
            ModuleNotFoundError: The package `nkeys` is not installed.

        """
        operator = KeyPair.generate(Role.OPERATOR)
        account, system = KeyPair.generate(Role.ACCOUNT), KeyPair.generate(Role.ACCOUNT)
        user = KeyPair.generate(Role.USER)
        return cls(
            operator=operator_token(operator),
            account=account.public_key,
            account_jwt=account_token(account.public_key, signed_by=operator, jetstream=True),
            system_account=system.public_key,
            # The server refuses to start when its system account has JetStream.
            system_account_jwt=account_token(system.public_key, signed_by=operator, jetstream=False),
            credentials=_credentials(user_token(user.public_key, signed_by=account), user.seed),
        )

    def config(self) -> Mapping[str, object]:
        """Return the top-level entries for the server's configuration file."""
        return {
            "operator": self.operator,
            "system_account": self.system_account,
            "resolver": "MEMORY",
            "resolver_preload": {
                self.account: self.account_jwt,
                self.system_account: self.system_account_jwt,
            },
        }

    def write_credentials(self, path: Path) -> Path:
        """Write the user's credentials file, readable by the owner only, and return its path."""
        path.touch(mode=0o600)
        path.write_text(self.credentials)
        return path


def _credentials(token: str, seed: str) -> str:
    return (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
