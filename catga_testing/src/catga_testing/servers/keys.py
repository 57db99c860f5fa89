"""NATS keys (Ed25519 in NATS's own notation), through the optional package `nkeys`."""

from __future__ import annotations

import enum
import importlib
import os
from dataclasses import dataclass, field
from typing import Any, Self


class Role(enum.Enum):
    """Whose key it is; the value is the prefix's name in `nkeys`."""

    OPERATOR = "PREFIX_BYTE_OPERATOR"
    ACCOUNT = "PREFIX_BYTE_ACCOUNT"
    USER = "PREFIX_BYTE_USER"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key pair of an operator, an account or a user."""

    public_key: str
    seed: str = field(repr=False)

    @classmethod
    def generate(cls, role: Role) -> Self:
        """Make a new random key pair.

        Raises:
            ModuleNotFoundError: The package `nkeys` is not installed.

        """
        nkeys = _nkeys()
        seed: bytes = nkeys.encode_seed(os.urandom(32), getattr(nkeys, role.value))
        public_key: bytes = nkeys.from_seed(bytearray(seed)).public_key
        return cls(public_key.decode(), seed.decode())

    def sign(self, data: bytes) -> bytes:
        """Return the signature of the data."""
        signature: bytes = _nkeys().from_seed(bytearray(self.seed.encode())).sign(data)
        return signature


def _nkeys() -> Any:
    # Imported by name: the package has no type information, and only these two authentications need it.
    try:
        return importlib.import_module("nkeys")
    except ModuleNotFoundError as error:
        if error.name != "nkeys":
            raise
        message = 'keys for NATS need the package nkeys. Install it with: pip install "catga-testing[nats]"'
        raise ModuleNotFoundError(message, name="nkeys") from error
