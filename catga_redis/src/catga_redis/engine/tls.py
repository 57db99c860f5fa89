"""TLS: what redis-py is told of it, whether our files can be read, and what to do when it fails."""

from __future__ import annotations

import ssl
from typing import Any

from catga_core.errors import ConfigurationError
from catga_core.paths import native_path
from catga_redis.options import RedisOptions


def tls_settings(options: RedisOptions) -> dict[str, Any]:
    """Return what a connection of redis-py's is given about TLS, nothing without it."""
    if not options.address.tls:
        return {}
    return {
        "ssl_ca_certs": _native(options.tls_ca),
        "ssl_certfile": _native(options.tls_cert),
        "ssl_keyfile": _native(options.tls_key or options.tls_cert),
        "ssl_cert_reqs": "required" if options.tls_verify else "none",
        "ssl_check_hostname": options.tls_verify,
    }


def require_files(options: RedisOptions) -> None:
    """Read the files of TLS; blocking, so not on an event loop's thread.

    Raises:
        ConfigurationError: Naming the file that cannot be used, and why.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if options.tls_ca is not None:
        try:
            context.load_verify_locations(native_path(options.tls_ca))
        except OSError as error:
            raise ConfigurationError(
                f"Redis option tls_ca={options.tls_ca!r} cannot be used ({error}): give a PEM file of certificates"
            ) from error
    if options.tls_cert is not None:
        try:
            # A key that wants a passphrase would ask for it on the terminal.
            context.load_cert_chain(native_path(options.tls_cert), _native(options.tls_key), password="")
        except OSError as error:
            named = f"tls_cert={options.tls_cert!r}"
            if options.tls_key is not None:
                named += f", tls_key={options.tls_key!r}"
            raise ConfigurationError(
                f"Redis option {named} cannot be used ({error}): give PEM files of a certificate and of its key, which has "
                "no passphrase"
            ) from error


def mend(options: RedisOptions, error: Exception) -> str:
    """Return what to do when no server could be reached.

    Args:
        options: Where it was looked for.
        error: What happened.
    """
    usual = "start a server there, or correct the URL"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "set tls_ca to the certificates of who has signed the server's, and use the host name it is made for"
    if options.address.tls:
        own = "" if options.tls_cert else ", or set tls_cert where it wants our certificate"
        return f"{usual}; write redis:// without the second s where it does not encrypt{own}"
    if isinstance(error, ConnectionRefusedError) or "refused" in str(error).lower():
        return usual
    return f"{usual}; write rediss:// where it encrypts"


def is_refused_by_tls(error: BaseException) -> bool:
    """Return whether one side refused the other's encryption, which only other options change.

    Args:
        error: Why there is no connection.
    """
    cause: BaseException | None = error
    while cause is not None:
        # A connection that ends in the middle of a handshake is lost, not refused.
        if isinstance(cause, ssl.SSLError) and not isinstance(
            cause, ssl.SSLEOFError | ssl.SSLZeroReturnError
        ):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _native(path: str | None) -> str | None:
    return None if path is None else native_path(path)
