"""Throw-away certificates for tests."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from catga_testing.servers.config import NatsTls
from catga_testing.servers.ports import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """An authority of its own and what it signed: one certificate for servers on the loopback, one for clients; all PEM files."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path

    @classmethod
    def generate(cls, directory: Path) -> Self:
        """Make a new authority with its certificates.

        Args:
            directory: Where the files are written; made if it does not exist.

        Raises:
            ModuleNotFoundError: The package `trustme` is not installed.

        """
        try:
            import trustme
        except ModuleNotFoundError as error:
            if error.name != "trustme":
                raise
            message = (
                'certificates need the package trustme. Install it with: pip install "catga-testing[nats]" '
                'or "catga-testing[redis]"'
            )
            raise ModuleNotFoundError(message, name="trustme") from error

        # The server runs in its own folder, so a relative path would mean another place to it.
        directory = directory.resolve()
        directory.mkdir(parents=True, exist_ok=True)
        made = cls(
            ca=directory / "ca.pem",
            server_cert=directory / "server-cert.pem",
            server_key=directory / "server-key.pem",
            client_cert=directory / "client-cert.pem",
            client_key=directory / "client-key.pem",
        )
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(made.ca))
        for leaf, cert, key in (
            (authority.issue_cert(LOOPBACK, "localhost"), made.server_cert, made.server_key),
            (authority.issue_cert("client@catga.test"), made.client_cert, made.client_key),
        ):
            key.touch(mode=0o600)
            leaf.private_key_pem.write_to_path(str(key))
            for index, blob in enumerate(leaf.cert_chain_pems):
                blob.write_to_path(str(cert), append=index > 0)
        return made

    def server(self, *, verify: bool = False) -> NatsTls:
        """Return the server's side of TLS.

        Args:
            verify: Whether a client must show a certificate of this authority.

        """
        return NatsTls(cert=self.server_cert, key=self.server_key, ca=self.ca, verify=verify)

    def server_context(self, *, verify: bool = False) -> ssl.SSLContext:
        """Return the server's side of TLS for a program of Python's, such as a `Link`.

        Args:
            verify: Whether a client must show a certificate of this authority.

        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ca))
        context.load_cert_chain(self.server_cert, self.server_key)
        if verify:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self, *, with_certificate: bool = False) -> ssl.SSLContext:
        """Return the client's side of TLS, which trusts this authority and no other.

        Args:
            with_certificate: Whether the client shows its own certificate.

        """
        context = ssl.create_default_context(cafile=str(self.ca))
        if with_certificate:
            context.load_cert_chain(self.client_cert, self.client_key)
        return context
