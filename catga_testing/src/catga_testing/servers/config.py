"""The options of a test server, and the configuration file they become."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catga_testing.servers.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from catga_testing.servers.auth import NatsAuth


@dataclass(frozen=True, slots=True)
class NatsTls:
    """The server's side of TLS.

    Attributes:
        cert: The server's certificate, PEM.
        key: Its private key, PEM.
        ca: The authority that clients' certificates must come from, PEM; needed with `verify`.
        verify: Whether a client must show a certificate.

    """

    cert: Path
    key: Path
    ca: Path | None = None
    verify: bool = False

    def config(self) -> Mapping[str, object]:
        """Return the block for the server's configuration file."""
        block: dict[str, object] = {
            "cert_file": str(self.cert),
            "key_file": str(self.key),
            "verify": self.verify,
        }
        if self.ca is not None:
            block["ca_file"] = str(self.ca)
        return block


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """Everything about a server that stays the same when it restarts, except its ports."""

    name: str
    jetstream: bool
    store_dir: Path
    sync_interval: str | None
    monitoring: bool
    auth: NatsAuth | None
    tls: NatsTls | None
    max_payload: int | None
    extra_config: Mapping[str, object]

    def render(self, *, port: int, monitor_port: int | None) -> str:
        """Return the text of a configuration file for these ports."""
        entries: dict[str, object] = {"server_name": self.name, "host": LOOPBACK, "port": port}
        if monitor_port is not None:
            entries["http"] = f"{LOOPBACK}:{monitor_port}"
        if self.jetstream:
            entries["jetstream"] = {"store_dir": str(self.store_dir), **self._sync()}
        if self.auth is not None:
            entries |= self.auth.config()
        if self.tls is not None:
            entries["tls"] = self.tls.config()
        if self.max_payload is not None:
            entries["max_payload"] = self.max_payload
            # Its default is 64 MiB, and the server refuses to start when one message may be larger than that.
            entries["max_pending"] = max(self.max_payload, 64 * 1024 * 1024)
        # NATS's configuration language contains JSON; \u escapes it does not know.
        return json.dumps({**entries, **self.extra_config}, indent=2, ensure_ascii=False)

    def _sync(self) -> dict[str, object]:
        return {} if self.sync_interval is None else {"sync_interval": self.sync_interval}
