"""Looks at a server before it is relied on: whether it can be used at all, and what it may lose, in plain words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import AskError, AuthenticationError, AuthorizationError, RedisError, ResponseError

from catga_core.errors import CatgaError, ConfigurationError
from catga_core.log import REDIS_DURABILITY, logger
from catga_redis.engine.clients import node_client
from catga_redis.engine.failures import answered, code_of, describe, failed, will_pass
from catga_redis.engine.scripts import Script, Scripts
from catga_redis.engine.tls import is_refused_by_tls, mend, require_files
from catga_redis.options import RedisOptions

LAYOUT = 1
"""The version of the key layout; docs/redis-layout.md describes it."""

_OLDEST = (7, 0)
_MOVING_SECONDS = 0.1  # between two looks at keys that are moving to another node of a cluster


async def check(options: RedisOptions, root: str, scripts: Scripts) -> Mapping[str, Any]:
    """Reach the server, mark the layout there, make the scripts known, and log what it may lose.

    Args:
        options: Where it is.
        root: What every key begins with.
        scripts: What will be run there.

    Returns:
        What it says of itself, for `health()`.

    Raises:
        ConfigurationError: When it cannot be used with these options, with the cause and the fix.
        PersistenceError: When it cannot be reached, or cannot answer yet.
    """
    shown = options.address.shown
    if options.address.tls:
        await asyncio.to_thread(require_files, options)
    try:
        async with asyncio.timeout(options.connect_timeout_seconds):
            found = None
            while found is None:
                found = await _look(options, root, scripts)
    except (AuthenticationError, AuthorizationError) as error:
        raise ConfigurationError(
            f"Redis at {shown} refused our credentials ({describe(error)}): check username and password"
        ) from error
    except ResponseError as error:
        raise _refused(error, shown) from error
    except TimeoutError as error:
        raise failed(
            f"Redis at {shown} has not answered within {options.connect_timeout_seconds:g} s: {mend(options, error)}"
        ) from error
    except (RedisError, OSError) as error:
        # A node of a cluster that refused a command is reported as one that could not be reached.
        if isinstance(error.__cause__, ResponseError):
            raise _refused(error.__cause__, shown) from error
        text = f"no Redis at {shown} ({describe(error)}): {mend(options, error)}"
        raise (ConfigurationError(text) if is_refused_by_tls(error) else failed(text)) from error
    facts = _facts(*found)
    _tell(facts, options)
    return facts


async def _look(
    options: RedisOptions, root: str, scripts: Scripts
) -> tuple[Mapping[str, Any], Mapping[str, str] | None] | None:
    """Return what a server says of itself and its settings, `None` while its keys are moving to another node."""
    shown = options.address.shown
    client = await node_client(options, root, answer_within=options.connect_timeout_seconds)
    try:
        info = await client.info()
        settings = await _settings(client)
        _require_version(info, shown)
        await _mark(client, root, shown)
        await _require_confirmations(client, options, settings or {}, shown)
        await _load(client, scripts.known_before())
        await _require_rights(client, root, scripts, shown)
    except AskError:  # also MovedError, which is one to redis-py
        await asyncio.sleep(_MOVING_SECONDS)
        return None
    finally:
        await client.aclose(close_connection_pool=True)
    return info, settings


def _refused(error: ResponseError, shown: str) -> ConfigurationError | CatgaError:
    # A replica stays one until the URL is corrected; the other refusals for now end by themselves.
    if will_pass(error) and code_of(error) != "READONLY":
        return answered(shown, error)
    return ConfigurationError(_refusal(error, shown))


def _refusal(error: ResponseError, shown: str) -> str:
    code = code_of(error)
    if code in {"NOAUTH", "WRONGPASS"}:
        return f"Redis at {shown} wants a password or refused ours: check username and password"
    if code == "NOPERM":
        return (
            f"the user for Redis at {shown} may not do what the stores need ({describe(error)}): allow it all commands on "
            "keys and channels that begin with the prefix"
        )
    if code == "READONLY":
        return f"Redis at {shown} is a replica: name its primary, or its Sentinels with redis+sentinel://"
    return f"Redis at {shown} cannot be used ({describe(error)})"


async def _settings(client: Redis) -> dict[Any, Any] | None:
    try:
        return dict(await client.config_get("appendfsync", "maxmemory-policy"))
    except ResponseError:
        # Hosted servers often forbid it.
        return None


def _require_version(info: Mapping[str, Any], shown: str) -> None:
    # Valkey tells the version of Redis it is compatible with.
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers and numbers < _OLDEST:
        raise ConfigurationError(f"Redis at {shown} is version {version}, and the stores need 7.0 or later")


async def _mark(client: Redis, root: str, shown: str) -> None:
    await client.set(f"{root}layout", LAYOUT, nx=True)
    there = await client.get(f"{root}layout")
    if there is None or int(there) != LAYOUT:
        raise ConfigurationError(
            f"Redis at {shown} holds data of layout {None if there is None else int(there)} under this prefix, and this "
            f"version of Catga knows layout {LAYOUT}: upgrade it, or choose another prefix"
        )


async def _require_confirmations(
    client: Redis, options: RedisOptions, settings: Mapping[str, Any], shown: str
) -> None:
    if options.wait_aof and settings.get("appendfsync") == "no":
        raise ConfigurationError(
            f"Redis at {shown} leaves it to its machine when its file reaches the disk (appendfsync no), so wait_aof would "
            "wait in vain: set appendfsync everysec or always"
        )
    try:
        if options.wait_aof:
            await client.execute_command("WAITAOF", 1, 0, 1)  # type: ignore[no-untyped-call]
    except ResponseError as error:
        raise ConfigurationError(
            f"Redis at {shown} cannot do what wait_aof asks for ({describe(error)}): switch appendonly on, and use Redis "
            "7.2 or Valkey"
        ) from error


async def _load(client: Redis, scripts: Iterable[Script]) -> None:
    pipeline = client.pipeline(transaction=False)
    for script in scripts:
        _ = pipeline.script_load(script.body)
    # Who may not do this sends a script's text with its first call.
    await pipeline.execute(raise_on_error=False)


async def _require_rights(client: Redis, root: str, scripts: Scripts, shown: str) -> None:
    script = scripts.operations["forbidden"]
    asked = [root, "", len(scripts.called), *scripts.called]
    forbidden = scripts.forbidden(await client.execute_command("EVAL", script.body, 1, *asked))  # type: ignore[no-untyped-call]
    if forbidden is not None:
        raise ConfigurationError(
            f"Redis at {shown} cannot be used: {forbidden} with keys of this prefix. Allow the user all commands on keys and "
            "channels that begin with it."
        )


def _facts(info: Mapping[str, Any], settings: Mapping[str, str] | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "server": f"{'Valkey' if 'valkey_version' in info else 'Redis'} "
        f"{info.get('valkey_version', info.get('redis_version', '?'))}",
        "replicas": int(info.get("connected_slaves", 0)),
        "appendonly": "yes" if info.get("aof_enabled") else "no",
        "appendfsync": "unknown",
        "maxmemory_policy": info.get("maxmemory_policy", "unknown"),
    }
    if settings is not None:
        facts["appendfsync"] = settings.get("appendfsync", "unknown")
        facts["maxmemory_policy"] = settings.get("maxmemory-policy", "unknown")
    return facts


def _tell(facts: Mapping[str, Any], options: RedisOptions) -> None:
    lost = _may_lose(facts, options)
    line = {**facts, "address": options.address.shown, "may_lose": lost}
    policy = facts["maxmemory_policy"]
    if policy not in {"noeviction", "unknown"}:
        line["evicts"] = (
            f"at its memory limit the server removes keys by itself ({policy}), and what was promised durable is gone: "
            "set maxmemory-policy noeviction"
        )
        logger().warning(REDIS_DURABILITY, **line)
    elif facts["appendonly"] == "no":
        logger().warning(REDIS_DURABILITY, **line)
    else:
        logger().info(REDIS_DURABILITY, **line)


def _may_lose(facts: Mapping[str, Any], options: RedisOptions) -> str:
    replicas = facts["replicas"]
    if facts["appendonly"] == "no":
        kept = f" unless one of its {replicas} replicas takes over" if replicas else ""
        return f"everything written since the last snapshot, when the server ends{kept}: set appendonly yes"
    if options.wait_aof or facts["appendfsync"] == "always":
        return "nothing that was acknowledged, when the server or its machine ends" + _failover(
            replicas, options
        )
    if facts["appendfsync"] == "everysec":
        return (
            "up to two seconds of acknowledged writes, when its machine ends: set appendfsync always, or wait_aof=True"
            + _failover(replicas, options)
        )
    if facts["appendfsync"] == "no":
        return (
            "up to half a minute of acknowledged writes, when its machine ends: set appendfsync always, or wait_aof=True"
            + _failover(replicas, options)
        )
    return "unknown, because the user may not read the server's settings (CONFIG GET): ask who runs it for appendfsync"


def _failover(replicas: int, options: RedisOptions) -> str:
    if not replicas or options.wait_replicas:
        return ""
    return "; at a failover to a replica, what that has not received yet: set wait_replicas"
