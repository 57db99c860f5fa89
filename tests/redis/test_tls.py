"""Over TLS a server is believed only by whom it can prove to be itself.

The Valkey of the wheel is built without TLS, so a proxy before it speaks it, as before many hosted servers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from catga_testing.servers import Certificates, Link, ValkeyServer
from tests.redis.support import appends, opened
from tests.redis.test_start import refused

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for all tests here: making keys takes a moment."""
    return Certificates.generate(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def encrypted(valkey_server_shared: ValkeyServer, files: Certificates) -> AsyncIterator[Link]:
    async with Link(valkey_server_shared.url, tls=files.server_context()) as link:
        yield link


@pytest.fixture
async def proving(valkey_server_shared: ValkeyServer, files: Certificates) -> AsyncIterator[Link]:
    """One that also wants the client's certificate."""
    async with Link(valkey_server_shared.url, tls=files.server_context(verify=True)) as link:
        yield link


async def test_a_trusted_server_is_used_by_both_connections(encrypted: Link, files: Certificates) -> None:
    async with opened(encrypted.url, tls_ca=str(files.ca)) as kept:
        waiting = kept.log.wait(after=0, timeout=0.01)
        await kept.log.append(appends("orders-1"))
        await waiting

        assert await kept.log.version("orders-1") == 1
        assert kept.storage.options.address.shown.startswith("rediss://")


async def test_a_connection_that_breaks_is_made_again_over_tls(encrypted: Link, files: Certificates) -> None:
    async with opened(encrypted.url, tls_ca=str(files.ca)) as kept:
        await kept.log.append(appends("orders-1"))
        await encrypted.cut()
        await encrypted.restore()
        await kept.log.append(appends("orders-1"))

        assert await kept.log.version("orders-1") == 2


async def test_a_server_of_another_authority_is_refused(encrypted: Link, tmp_path: Path) -> None:
    other = Certificates.generate(tmp_path)

    told = await refused(encrypted.url, tls_ca=str(other.ca))

    assert "certificate" in told
    assert "tls_ca" in told


async def test_a_certificate_for_another_name_is_refused(encrypted: Link, files: Certificates) -> None:
    told = await refused(encrypted.url.replace("127.0.0.1", "127.0.0.2"), tls_ca=str(files.ca))

    assert "127.0.0.2" in told


async def test_what_is_not_to_be_checked_is_not(encrypted: Link) -> None:
    async with opened(encrypted.url, tls_verify=False) as kept:
        assert await kept.log.head() == 0


async def test_a_client_shows_its_own_certificate(proving: Link, files: Certificates) -> None:
    cert, key = str(files.client_cert), str(files.client_key)
    async with opened(proving.url, tls_ca=str(files.ca), tls_cert=cert, tls_key=key) as kept:
        assert await kept.log.head() == 0


async def test_a_client_without_a_certificate_is_told_so(proving: Link, files: Certificates) -> None:
    told = await refused(proving.url, tls_ca=str(files.ca))

    assert "tls_cert" in told


async def test_a_server_that_does_not_encrypt_is_refused(valkey_server_shared: ValkeyServer) -> None:
    told = await refused(valkey_server_shared.url.replace("redis://", "rediss://"))

    assert "redis:// without the second s" in told


async def test_an_encrypting_server_is_named_to_whom_does_not(encrypted: Link) -> None:
    told = await refused(encrypted.url.replace("rediss://", "redis://"), connect_timeout=2.0)

    assert "rediss://" in told


@pytest.mark.parametrize("option", ["tls_ca", "tls_cert"])
async def test_a_file_that_is_not_there_is_named(encrypted: Link, tmp_path: Path, option: str) -> None:
    missing = tmp_path / "missing.pem"

    told = await refused(encrypted.url, **{option: str(missing)})

    assert str(missing) in told
    assert option in told
