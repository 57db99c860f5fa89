from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from catga_core.errors import CatgaError
from catga_core.messages.results import Success
from catga_testing.servers import Certificates, JwtAuth, NatsServer, NatsTls, NkeyAuth, TokenAuth, UserAuth
from tests.nats.support import Add, Sum, adder, running, send, transport

pytestmark = pytest.mark.nats


async def works(url: str, **options: Any) -> None:
    async with running(url, adder(), **options) as both:
        assert await send(both, Add(1, 2)) == Success(Sum(3))
        assert both.health().status == "healthy"


async def refused(url: str, told: str, **options: Any) -> str:
    """The start fails at once, not after connect_timeout, and says why."""
    made = transport(url, connect_timeout=20.0, **options)
    start = time.monotonic()
    with pytest.raises(CatgaError) as error:
        await made.connect()
    await made.close()
    assert time.monotonic() - start < 5
    assert (error.value.code, error.value.retryable) == ("TRANSPORT_FAILED", False)
    assert told in error.value.message
    return error.value.message


async def test_token() -> None:
    async with NatsServer(auth=TokenAuth("s3cret")) as server:
        await works(server.url, token="s3cret")
        await works(server.url.replace("://", "://s3cret@"))
        for wrong in ({"token": "wr0ng"}, {}):
            assert "wr0ng" not in await refused(server.url, "refused our credentials", **wrong)


async def test_user_and_password() -> None:
    async with NatsServer(auth=UserAuth("me", "p@ss")) as server:
        await works(server.url, user="me", password="p@ss")
        await works(server.url.replace("://", "://me:p%40ss@"))
        message = await refused(server.url.replace("://", "://me:wr0ng@"), "refused our credentials")
        assert "wr0ng" not in message
        assert server.url in message


async def test_nkey_seed_as_text_and_as_file(tmp_path: Path) -> None:
    auth = NkeyAuth.generate()
    path = tmp_path / "user.nk"
    path.write_text(f"# mine\n{auth.seed}\n")
    async with NatsServer(auth=auth) as server:
        await works(server.url, nkeys_seed=auth.seed)
        await works(server.url, nkeys_seed=str(path))
        await refused(server.url, "refused our credentials", nkeys_seed=NkeyAuth.generate().seed)


async def test_credentials_as_file_and_as_text(tmp_path: Path) -> None:
    auth = JwtAuth.generate()
    path = auth.write_credentials(tmp_path / "user.creds")
    async with NatsServer(auth=auth) as server:
        await works(server.url, credentials=str(path))
        await works(server.url, credentials=auth.credentials)
        await refused(server.url, "refused our credentials", credentials=JwtAuth.generate().credentials)


async def test_tls(tmp_path: Path) -> None:
    files = Certificates.generate(tmp_path / "a")
    other = Certificates.generate(tmp_path / "b")
    async with NatsServer(tls=NatsTls(files.server_cert, files.server_key)) as server:
        assert server.url.startswith("tls://")
        await works(server.url, tls_ca=str(files.ca))
        await works(server.url, tls_verify=False)
        await works(server.url, tls_ca=str(files.ca), tls_hostname="localhost")
        await refused(server.url, "no trusted encryption", tls_ca=str(other.ca))
        await refused(server.url, "no trusted encryption")
        await refused(server.url, "no trusted encryption", tls_ca=str(files.ca), tls_hostname="example.org")


async def test_tls_with_a_certificate_of_our_own(tmp_path: Path) -> None:
    files = Certificates.generate(tmp_path)
    tls = NatsTls(files.server_cert, files.server_key, ca=files.ca, verify=True)
    async with NatsServer(tls=tls) as server:
        own = {"tls_cert": str(files.client_cert), "tls_key": str(files.client_key)}
        await works(server.url, tls_ca=str(files.ca), **own)
        made = transport(server.url, tls_ca=str(files.ca), connect_timeout=1.0)
        with pytest.raises(CatgaError) as error:
            await made.connect()
        await made.close()
        assert error.value.code == "TRANSPORT_FAILED"


async def test_a_server_without_encryption_gets_no_credentials_where_tls_was_demanded(tmp_path: Path) -> None:
    files = Certificates.generate(tmp_path)
    async with NatsServer() as server:
        plain = server.url.replace("nats://", "tls://")
        await refused(plain, "does not encrypt", tls_ca=str(files.ca), token="s3cret")
        await refused(server.url, "does not encrypt", tls_verify=False)
