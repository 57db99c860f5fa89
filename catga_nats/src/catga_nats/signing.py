"""The arguments of nats-py for signing in and for encryption."""

from __future__ import annotations

import importlib.util
import ssl
from pathlib import Path
from typing import Any

from catga_core.errors import ConfigurationError
from catga_core.paths import native_path
from catga_nats.options import NatsOptions


def connect_arguments(options: NatsOptions) -> dict[str, Any]:
    """Return the arguments of nats-py's `connect` for the credentials and TLS; it reads files, so run it in a thread.

    Raises:
        ConfigurationError: Naming the file or the package that is missing.
    """
    arguments: dict[str, Any] = {}
    if options.token is not None:
        arguments["token"] = options.token
    if options.user is not None:
        arguments |= {"user": options.user, "password": options.password}
    if options.nkeys_seed is not None:
        _require_nkeys("nkeys_seed")
        arguments["nkeys_seed_str"] = _seed(options.nkeys_seed)
    if options.credentials is not None:
        _require_nkeys("credentials")
        arguments["user_credentials"] = _credentials(options.credentials)
    if options.wants_tls:
        arguments["tls"] = _tls(options)
        if options.tls_hostname:
            arguments["tls_hostname"] = options.tls_hostname
    return arguments


def _require_nkeys(option: str) -> None:
    if importlib.util.find_spec("nkeys") is None:
        raise ConfigurationError(
            f"NATS option {option} needs the package nkeys, which is not installed: "
            'pip install "catga-nats[nkeys]"'
        )


def _seed(given: str) -> str:
    import nkeys

    text = given.strip()
    if not text.startswith("S") or len(text) < 50 or "/" in text:
        text = _read_text(given, "nkeys_seed")
    # A seed file may carry comments and the armour of a .creds file around the seed itself.
    seed = next((line.strip() for line in text.splitlines() if line.strip().startswith("SU")), "")
    try:
        nkeys.from_seed(bytearray(seed.encode())).wipe()
    except Exception:  # noqa: BLE001  # nkeys raises many kinds; none is shown, because it may quote the seed
        raise ConfigurationError(
            "NATS option nkeys_seed holds no seed of a user: give the text that begins with SU, or the path of its file"
        ) from None
    return seed


def _credentials(given: str) -> Any:
    from nats.aio.client import RawCredentials

    text = given if "BEGIN NATS USER JWT" in given else _read_text(given, "credentials")
    # nats-py loops for ever over a file without the marker of the JWT.
    if "BEGIN NATS USER JWT" not in text or "BEGIN USER NKEY SEED" not in text:
        raise ConfigurationError(
            "NATS option credentials holds no user JWT and seed: give the .creds file that `nsc generate creds` writes"
        )
    return RawCredentials(text)


def _read_text(path: str, option: str) -> str:
    try:
        return Path(native_path(path)).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as cause:
        raise ConfigurationError(
            f"NATS option {option} names a file that cannot be read ({type(cause).__name__}): "
            "give the path of a readable file"
        ) from None


def _tls(options: NatsOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=_native(options.tls_ca))
    except (OSError, ValueError) as cause:
        raise ConfigurationError(
            f"NATS option tls_ca={options.tls_ca!r} holds no certificates ({cause}): give a readable PEM file"
        ) from cause
    if not options.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.tls_cert:
        try:
            context.load_cert_chain(native_path(options.tls_cert), _native(options.tls_key))
        except (OSError, ValueError) as cause:
            raise ConfigurationError(
                f"NATS options tls_cert={options.tls_cert!r} and tls_key={options.tls_key!r} are not a certificate "
                f"with its key ({cause}): give readable PEM files that belong together"
            ) from cause
    return context


def _native(path: str | None) -> str | None:
    return None if path is None else native_path(path)
