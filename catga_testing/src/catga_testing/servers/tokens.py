"""The signed tokens (JWT, in NATS's own dialect) of a server with an operator."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catga_testing.servers.keys import KeyPair

_UNLIMITED = -1


def operator_token(operator: KeyPair) -> str:
    """Return the token by which an operator vouches for itself."""
    return _sign("operator", {}, subject=operator.public_key, by=operator)


def account_token(account: str, *, signed_by: KeyPair, jetstream: bool) -> str:
    """Return the token of an account.

    Args:
        account: The account's public key.
        signed_by: The operator.
        jetstream: Whether the account may keep streams.

    """
    limits: dict[str, object] = dict.fromkeys(
        ("subs", "data", "payload", "imports", "exports", "conn", "leaf"),
        _UNLIMITED,
    )
    limits["wildcards"] = True
    if jetstream:
        limits |= dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), _UNLIMITED)
    return _sign("account", {"limits": limits}, subject=account, by=signed_by)


def user_token(user: str, *, signed_by: KeyPair) -> str:
    """Return the token of a user who may publish and subscribe to everything in the account.

    Args:
        user: The user's public key.
        signed_by: The account.

    """
    claims: dict[str, object] = dict.fromkeys(("subs", "data", "payload"), _UNLIMITED)
    claims |= {"pub": {}, "sub": {}}
    return _sign("user", claims, subject=user, by=signed_by)


def _sign(kind: str, claims: Mapping[str, object], *, subject: str, by: KeyPair) -> str:
    payload: dict[str, object] = {
        "iat": int(time.time()),
        "iss": by.public_key,
        "name": kind,
        "sub": subject,
        "nats": {**claims, "type": kind, "version": 2},
    }
    # The token's id is by convention the hash of everything else in it.
    payload["jti"] = base64.b32encode(hashlib.sha256(_json(payload)).digest()).rstrip(b"=").decode()
    signed = b".".join((_base64(_json({"typ": "JWT", "alg": "ed25519-nkey"})), _base64(_json(payload))))
    return b".".join((signed, _base64(by.sign(signed)))).decode()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
