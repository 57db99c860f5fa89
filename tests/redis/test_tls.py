"""Over TLS a server is believed only by whom it can prove to be itself.

The Valkey of the wheel is built without TLS, so a proxy before each server speaks it, as before many hosted ones: a cluster announces
the proxies, and a Sentinel watches one.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme
from redis.asyncio import Redis

from catga_testing.servers import Certificates, Link, ValkeyCluster, ValkeySentinels, ValkeyServer
from catga_testing.waiting import eventually
from tests.redis.support import appends, opened
from tests.redis.test_start import refused, unreachable

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


async def test_a_certificate_for_another_name_is_refused(
    valkey_server_shared: ValkeyServer, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    async with Link(valkey_server_shared.url, tls=context) as link:
        told = await refused(link.url, tls_ca=str(tmp_path / "ca.pem"))

    assert "127.0.0.1" in told
    assert "use the host name it is made for" in told


async def test_what_is_not_to_be_checked_is_not(encrypted: Link) -> None:
    async with opened(encrypted.url, tls_verify=False) as kept:
        assert await kept.log.head() == 0


async def test_a_client_shows_its_own_certificate(proving: Link, files: Certificates) -> None:
    cert, key = str(files.client_cert), str(files.client_key)
    async with opened(proving.url, tls_ca=str(files.ca), tls_cert=cert, tls_key=key) as kept:
        assert await kept.log.head() == 0


async def test_a_client_without_a_certificate_is_told_so(proving: Link, files: Certificates) -> None:
    told = await unreachable(proving.url, tls_ca=str(files.ca))

    assert "tls_cert" in told


async def test_a_server_that_does_not_encrypt_is_refused(valkey_server_shared: ValkeyServer) -> None:
    told = await unreachable(
        valkey_server_shared.url.replace("redis://", "rediss://"), connect_timeout_seconds=1.0
    )

    assert "redis:// without the second s" in told


async def test_an_encrypting_server_is_named_to_whom_does_not(encrypted: Link) -> None:
    told = await unreachable(encrypted.url.replace("rediss://", "redis://"), connect_timeout_seconds=2.0)

    assert "rediss://" in told


@pytest.mark.parametrize("option", ["tls_ca", "tls_cert"])
async def test_a_file_that_is_not_there_is_named(encrypted: Link, tmp_path: Path, option: str) -> None:
    missing = tmp_path / "missing.pem"

    told = await refused(encrypted.url, **{option: str(missing)})

    assert str(missing) in told
    assert option in told


@pytest.mark.slow
async def test_a_cluster_is_followed_from_node_to_node_over_tls(files: Certificates) -> None:
    async with ValkeyCluster() as cluster, AsyncExitStack() as links:
        encrypted: list[Link] = []
        for node in cluster.nodes:
            link = await links.enter_async_context(Link(node.url, tls=files.server_context()))
            encrypted.append(link)
            async with Redis.from_url(node.url) as client:
                await client.config_set("cluster-announce-port", link.port)
        for link in encrypted:
            await _announced(cluster, {each.port for each in encrypted})
            # Two of the three nodes do not have the keys, and send to the one that has.
            url = f"rediss+cluster://127.0.0.1:{link.port}"
            async with opened(url, tls_ca=str(files.ca), prefix="everywhere") as kept:
                waiting = kept.log.wait(after=await kept.log.head(), timeout=0.01)
                await kept.log.append(appends("orders-1"))
                await waiting
                version = await kept.log.version("orders-1")

        assert version == len(encrypted)


@pytest.mark.slow
async def test_sentinels_and_the_server_they_name_are_used_over_tls(files: Certificates) -> None:
    async with (
        ValkeySentinels() as sentinels,
        Redis(port=sentinels.sentinels[0].port) as client,
        Link(sentinels.primary.url, tls=files.server_context()) as server,
        Link(f"redis://127.0.0.1:{sentinels.sentinels[0].port}", tls=files.server_context()) as sentinel,
    ):
        # It cannot speak TLS itself, so it is given time before it takes the server for one that is down.
        await client.execute_command("SENTINEL", "MONITOR", "encrypted", "127.0.0.1", server.port, 1)
        await client.execute_command("SENTINEL", "SET", "encrypted", "down-after-milliseconds", 600_000)

        url = f"rediss+sentinel://127.0.0.1:{sentinel.port}/encrypted/0"
        async with opened(url, tls_ca=str(files.ca)) as kept:
            waiting = kept.log.wait(after=0, timeout=0.01)
            await kept.log.append(appends("orders-1"))
            await waiting

            assert await kept.log.version("orders-1") == 1
            assert sentinel.connections > 0
            assert server.connections > 0


async def _announced(cluster: ValkeyCluster, ports: set[int]) -> None:
    """Return when every node sends to the links."""

    async def known() -> bool:
        for node in cluster.nodes:
            async with Redis.from_url(node.url) as client:
                slots = await client.execute_command("CLUSTER", "SLOTS")
            if {primary[1] for _, _, primary, *_ in slots} != ports:
                return False
        return True

    await eventually(known, within=30.0)
