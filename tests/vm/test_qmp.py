"""The monitor's protocol against a QEMU that behaves as QEMUs do when they end."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from osvlab.vm.qmp import HELLO, Monitor, MonitorError


def talk(play: Callable[[Monitor, socket.socket], Awaitable[None]]) -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(20)
        monitor = Monitor(ours, lambda: None)
        with theirs:
            await play(monitor, theirs)
        monitor.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def send(peer: socket.socket, *messages: dict[str, Any]) -> None:
    peer.sendall(b"".join(json.dumps(message).encode() + b"\r\n" for message in messages))


def test_hello_is_there_before_qemu_is() -> None:
    async def play(monitor: Monitor, peer: socket.socket) -> None:
        assert peer.recv(1000) == HELLO

    talk(play)


def test_answers_find_their_commands_in_any_order_and_in_pieces() -> None:
    async def play(monitor: Monitor, peer: socket.socket) -> None:
        send(peer, {"QMP": {"version": {}}}, {"return": {}, "id": 0})
        one = asyncio.create_task(monitor.execute("one", {}))
        two = asyncio.create_task(monitor.execute("two", {"a": 1}))
        await asyncio.sleep(0.01)
        said = [json.loads(line) for line in peer.recv(10_000).splitlines()]
        assert [message["execute"] for message in said[1:]] == ["one", "two"]
        answers = b'{"return": 2, "id": %d}\r\n{"event": "STOP"}\r\n{"return": 1, "id": %d}\r\n'
        whole = answers % (said[2]["id"], said[1]["id"])
        for at in range(0, len(whole), 7):
            peer.sendall(whole[at : at + 7])
            await asyncio.sleep(0)
        assert (await one, await two) == (1, 2)

    talk(play)


def test_an_error_is_told_in_qemus_words() -> None:
    async def play(monitor: Monitor, peer: socket.socket) -> None:
        asking = asyncio.create_task(monitor.execute("eject", {}))
        await asyncio.sleep(0.01)
        number = json.loads(peer.recv(1000).splitlines()[1])["id"]
        send(peer, {"error": {"class": "GenericError", "desc": "no such drive"}, "id": number})
        with pytest.raises(MonitorError, match="refused eject: no such drive"):
            await asking

    talk(play)


def test_what_is_no_json_cannot_be_sent() -> None:
    async def play(monitor: Monitor, peer: socket.socket) -> None:
        with pytest.raises(MonitorError, match="JSON"):
            await monitor.execute("eject", {"id": object()})

    talk(play)


def test_the_last_event_is_read_after_the_end() -> None:
    async def play(monitor: Monitor, peer: socket.socket) -> None:
        waiting = asyncio.create_task(monitor.execute("query-status", {}))
        await asyncio.sleep(0)
        send(peer, {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-reset"}})
        peer.close()
        monitor.close()
        assert monitor.shutdown_reason == "guest-reset"
        with pytest.raises(MonitorError, match="ended"):
            await waiting
        with pytest.raises(MonitorError, match="has ended"):
            await monitor.execute("query-status", {})

    talk(play)


def test_ready_when_the_machine_is_made() -> None:
    async def play(monitor: Monitor, peer: socket.socket) -> None:
        waiting = asyncio.create_task(monitor.until_ready())
        send(peer, {"QMP": {}}, {"event": "RESUME"})
        await asyncio.sleep(0.01)
        assert peer.recv(1000) == HELLO
        send(peer, {"return": {}, "id": 0})
        for answer in ({"error": {"desc": "only after initialization"}}, {"return": {"UUID": ""}}):
            assert not waiting.done()
            await asyncio.sleep(0.02)
            send(peer, {**answer, "id": json.loads(peer.recv(1000))["id"]})
        await waiting

    talk(play)


def test_shutting_down_is_told_at_once() -> None:
    async def run() -> None:
        told: list[bool] = []
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        monitor = Monitor(ours, lambda: told.append(True))
        send(theirs, {"event": "SHUTDOWN", "data": {"reason": "guest-shutdown"}})
        await asyncio.sleep(0.01)
        assert told == [True]
        monitor.close()
        theirs.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("data", "full"),
    [
        ({"nospace": True, "reason": "No space left on device"}, 1),
        ({"nospace": False, "reason": "Disk quota exceeded"}, 1),
        ({"nospace": False, "reason": "File too large"}, 1),
        ({"nospace": False, "reason": "Input/output error"}, 0),
        ({}, 0),
    ],
)
def test_a_disk_that_is_full_is_told(data: dict[str, Any], full: int) -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        told: list[None] = []
        monitor = Monitor(ours, lambda: None, lambda: told.append(None))
        with theirs:
            send(theirs, {"event": "BLOCK_IO_ERROR", "data": data})
        monitor.close()
        assert len(told) == full

    asyncio.run(asyncio.wait_for(run(), 20))
