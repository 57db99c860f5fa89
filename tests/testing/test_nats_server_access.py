"""A test's nats-server demands tokens, passwords, keys, credentials and certificates."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from catga_testing.servers import Certificates, JwtAuth, NatsServer, NkeyAuth, TokenAuth, UserAuth
from tests.testing.nats_support import HELLO, connect, refuses

pytestmark = pytest.mark.nats


async def refuses_tls(server: NatsServer, context: ssl.SSLContext) -> bool:
    """Tell whether client and server do not get through TLS to the first answer.

    Not with nats-py: its client hangs in close() after a failed handshake.
    """
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            await reader.readline()  # INFO, still in the clear
            await writer.start_tls(context, server_hostname="127.0.0.1")
            writer.write(HELLO)
            answer = await reader.read(4)
        except OSError:  # ssl.SSLError is one
            return True
        finally:
            writer.transport.abort()
        return answer != b"PONG"


async def test_a_token_opens_and_a_wrong_one_does_not() -> None:
    auth = TokenAuth()
    async with NatsServer(auth=auth) as server:
        client = await connect(server.url, token=auth.token)
        await client.close()

        assert await refuses(server, token="wrong")
        assert await refuses(server)


async def test_a_password_opens_and_a_wrong_one_does_not() -> None:
    auth = UserAuth("ann")
    async with NatsServer(auth=auth) as server:
        client = await connect(server.url, user="ann", password=auth.password)
        await client.close()

        assert await refuses(server, user="ann", password="wrong")
        assert await refuses(server)


async def test_an_nkey_opens_and_another_one_does_not() -> None:
    auth, other = NkeyAuth.generate(), NkeyAuth.generate()
    async with NatsServer(auth=auth) as server:
        client = await connect(server.url, nkeys_seed_str=auth.seed)
        await client.close()

        assert await refuses(server, nkeys_seed_str=other.seed)


async def test_credentials_open_streams_included_and_those_of_another_operator_do_not(tmp_path: Path) -> None:
    auth = JwtAuth.generate()
    right = auth.write_credentials(tmp_path / "right.creds")
    wrong = JwtAuth.generate().write_credentials(tmp_path / "wrong.creds")
    async with NatsServer(auth=auth, jetstream=True) as server:
        client = await connect(server.url, user_credentials=str(right))
        await client.jetstream().add_stream(name="orders", subjects=["orders"])
        await client.close()

        assert await refuses(server, user_credentials=str(wrong))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for the session: making keys takes a moment."""
    return Certificates.generate(tmp_path_factory.mktemp("certificates"))


async def test_tls_serves_who_trusts_its_authority_only(certificates: Certificates, tmp_path: Path) -> None:
    stranger = Certificates.generate(tmp_path)
    async with NatsServer(tls=certificates.server()) as server:
        client = await connect(server.url, tls=certificates.client_context())
        await client.flush()
        await client.close()

        assert server.url.startswith("tls://")
        assert not await refuses_tls(server, certificates.client_context())
        assert await refuses_tls(server, stranger.client_context())


async def test_verify_demands_a_certificate_of_the_client(certificates: Certificates) -> None:
    async with NatsServer(tls=certificates.server(verify=True)) as server:
        known = certificates.client_context(with_certificate=True)
        client = await connect(server.url, tls=known)
        await client.close()

        assert not await refuses_tls(server, known)
        assert await refuses_tls(server, certificates.client_context())
