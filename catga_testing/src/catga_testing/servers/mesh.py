"""Whether the servers of a cluster know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catga_testing.servers.probe import monitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catga_testing.servers.nats_server import NatsServer


def unready(nodes: Sequence[NatsServer], *, jetstream: bool) -> list[str]:
    """Return what these servers still lack, in words; empty when they are a working cluster."""
    if not nodes:
        return ["no server runs"]
    names = {node.name for node in nodes}
    missing = [
        f"{node.name} has no route to {', '.join(sorted(absent))}"
        for node in nodes
        if (absent := names - {node.name} - _routes(node))
    ]
    if jetstream and not missing:
        leaders = {node.name: _leader(node) for node in nodes}
        if len(set(leaders.values())) > 1 or not names.issuperset(leaders.values()):
            missing.append(f"no agreed JetStream leader among the running servers: {leaders}")
        missing += [f"{node.name} is not healthy" for node in nodes if _ask(node, "/healthz") is None]
    return missing


def leader_of(nodes: Sequence[NatsServer]) -> NatsServer | None:
    """Return the server that all of these hold for JetStream's leader, or `None` while they do not agree."""
    leaders = {_leader(node) for node in nodes}
    return next((node for node in nodes if leaders == {node.name}), None)


def _routes(node: NatsServer) -> set[str]:
    answer = _ask(node, "/routez") or {}
    return {route["remote_name"] for route in answer.get("routes") or () if "remote_name" in route}


def _leader(node: NatsServer) -> str:
    answer = _ask(node, "/jsz") or {}
    leader: str = answer.get("meta_cluster", {}).get("leader", "")
    return leader


def _ask(node: NatsServer, path: str) -> dict[str, Any] | None:
    port = node.monitor_port
    return None if port is None else monitor(port, path)
