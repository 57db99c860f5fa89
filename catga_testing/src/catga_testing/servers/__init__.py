"""Real servers for tests, started as processes of their own on free loopback ports."""

from catga_testing.servers.auth import JwtAuth, NatsAuth, NkeyAuth, TokenAuth, UserAuth
from catga_testing.servers.binary import find_nats_server, find_redis_server, find_valkey_server
from catga_testing.servers.blocking import BlockingServer
from catga_testing.servers.config import NatsTls
from catga_testing.servers.errors import (
    ServerBinaryNotFoundError,
    ServerError,
    ServerNotRunningError,
    ServerStartError,
)
from catga_testing.servers.link import Direction, Link
from catga_testing.servers.nats_cluster import NatsCluster
from catga_testing.servers.nats_server import NatsServer
from catga_testing.servers.ports import ReservedPort
from catga_testing.servers.server import Server
from catga_testing.servers.tls import Certificates
from catga_testing.servers.valkey_cluster import ValkeyCluster
from catga_testing.servers.valkey_sentinels import ValkeySentinels
from catga_testing.servers.valkey_server import AppendFsync, ValkeyServer

__all__ = [
    "AppendFsync",
    "BlockingServer",
    "Certificates",
    "Direction",
    "JwtAuth",
    "Link",
    "NatsAuth",
    "NatsCluster",
    "NatsServer",
    "NatsTls",
    "NkeyAuth",
    "ReservedPort",
    "Server",
    "ServerBinaryNotFoundError",
    "ServerError",
    "ServerNotRunningError",
    "ServerStartError",
    "TokenAuth",
    "UserAuth",
    "ValkeyCluster",
    "ValkeySentinels",
    "ValkeyServer",
    "find_nats_server",
    "find_redis_server",
    "find_valkey_server",
]
