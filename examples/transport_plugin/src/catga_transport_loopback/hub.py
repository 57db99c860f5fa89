"""The hub: knows who listens for what, and opens none of the messages it passes on."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from types import TracebackType
from typing import Self

from .frames import Answer, Ask, Frame, Leave, Listen, Lost, Nobody, Tell, pack, read_frame


class Peer:
    """One connected process.

    Args:
        writer: Where its frames go.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    def send(self, frame: Frame) -> None:
        if not self.writer.is_closing():
            self.writer.write(pack(frame))


class Hub:
    """Connects processes; `async with Hub() as hub:` listens as long as the block lasts.

    Args:
        host: Where to listen.
        port: 0 for a free one.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._port = port
        self._listeners: dict[str, dict[str, deque[Peer]]] = {}
        self._asked: dict[int, tuple[Peer, int, Peer]] = {}
        self._numbers = itertools.count()
        self._peers: set[Peer] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """What to give a container as its transport."""
        return f"loopback://{self._host}:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, self._port)
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for peer in tuple(self._peers):
            peer.writer.close()
        await self._server.wait_closed()
        if self._serving:
            await asyncio.wait(self._serving)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(writer)
        self._peers.add(peer)
        try:
            while (frame := await read_frame(reader)) is not None:
                self._route(peer, frame)
        finally:
            self._forget(peer)
            writer.close()
            self._peers.discard(peer)

    def _route(self, peer: Peer, frame: Frame) -> None:
        match frame:
            case Listen(subject, group):
                self._listeners.setdefault(subject, {}).setdefault(group, deque()).append(peer)
                peer.send(frame)
            case Leave(subject, group):
                self._leave(peer, subject, group)
                peer.send(frame)
            case Ask(number, subject, body):
                chosen = [self._turn(group) for group in self._listeners.get(subject, {}).values()]
                if not chosen:
                    peer.send(Nobody(number))
                    return
                inner = next(self._numbers)
                self._asked[inner] = (peer, number, chosen[0])
                chosen[0].send(Ask(inner, subject, body))
            case Answer(number, body):
                asked = self._asked.pop(number, None)
                if asked is not None:
                    asked[0].send(Answer(asked[1], body))
            case Tell(subject, _):
                for listening in self._listeners.get(subject, {}).values():
                    self._turn(listening).send(frame)
            case Nobody() | Lost():
                # The hub's own words; from a process they mean nothing.
                return

    def _turn(self, group: deque[Peer]) -> Peer:
        group.rotate(-1)
        return group[-1]

    def _leave(self, peer: Peer, subject: str, group: str) -> None:
        groups = self._listeners.get(subject, {})
        listening = groups.get(group, deque())
        if peer in listening:
            listening.remove(peer)
        if not listening:
            groups.pop(group, None)

    def _forget(self, peer: Peer) -> None:
        for subject, groups in tuple(self._listeners.items()):
            for group in tuple(groups):
                self._leave(peer, subject, group)
        for inner, (asker, number, handler) in tuple(self._asked.items()):
            if peer in {asker, handler}:
                del self._asked[inner]
                asker.send(Lost(number))
