"""Waiting in asyncio: the caller's loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest

import osvlab
from osvlab.vm.console import Console, ConsoleEndedError, ConsoleTimeoutError
from osvlab.vm.outcome import Exited, Lost
from osvlab.vm.vm import VM, StillRunningError, stop_all
from tests.vm.guests import Guest

Boot = Callable[..., VM]


@pytest.mark.qemu
def test_other_tasks_go_on_while_a_guest_is_awaited(boot: Boot) -> None:
    async def steer() -> None:
        async with boot(Guest().say("name? ").echo_line().exit(4)) as vm:
            since = (await vm.wait_for_async(r"name\? ")).end()
            asking = asyncio.create_task(vm.wait_for_async("Ada\n", since=since))
            for _ in range(100):
                await asyncio.sleep(0)  # were the loop blocked, it would never come to type
            assert not asking.done()
            vm.write("Ada\n")
            assert (await asking)[0] == "Ada\n"
            assert await vm.wait_async(20) == Exited(4)

    asyncio.run(steer())


@pytest.mark.qemu
def test_the_block_ends_the_guest(boot: Boot) -> None:
    async def steer() -> VM:
        async with boot(Guest().hang()) as vm:
            with pytest.raises(StillRunningError, match=r"0\.05 s"):
                await vm.wait_async(0.05)
        return vm

    outcome = asyncio.run(steer()).outcome
    assert isinstance(outcome, Lost)
    assert outcome.stopped


@pytest.mark.qemu
def test_who_stops_waiting_leaves_the_guest_alone(boot: Boot) -> None:
    async def steer() -> None:
        vm = boot(Guest().hang())
        for waiting in (vm.wait_async(), vm.wait_for_async("never", None)):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waiting, 0.05)
        assert vm.running
        assert not vm.console._subscribers
        assert isinstance(await vm.stop_async(), Lost)

    asyncio.run(steer())


@pytest.mark.qemu
def test_many_guests_are_awaited_at_once(boot: Boot) -> None:
    async def steer() -> list[object]:
        vms = [boot(Guest().say(f"{n}\r\n").exit(n)) for n in range(4)]
        lines = await asyncio.gather(*(vm.wait_for_async(r"(\d)\n") for vm in vms))
        assert [match[1] for match in lines] == ["0", "1", "2", "3"]
        return await asyncio.gather(*(vm.wait_async(20) for vm in vms))

    assert asyncio.run(steer()) == [Exited(n) for n in range(4)]


def test_the_errors_are_those_of_the_other_twin() -> None:
    async def steer() -> None:
        console = Console()
        console.feed(b"one\r\n")
        with pytest.raises(ConsoleTimeoutError, match=r"0\.01 s.*\none"):
            await console.wait_for_async("two", 0.01)
        asyncio.get_running_loop().call_later(0.01, console.end, "exited")
        with pytest.raises(ConsoleEndedError, match="the guest ended first: exited"):
            await console.wait_for_async("two")

    asyncio.run(steer())


# Guests that nobody remembers


@pytest.mark.qemu
def test_a_forgotten_guest_is_found_again(boot: Boot, guest_folder: object) -> None:
    stop_all()
    assert osvlab.running() == []
    first = boot(Guest().hang())
    numbers = [first.pid, VM(first.machine).pid]  # as a cell that was run again
    gc.collect()
    assert [vm.pid for vm in osvlab.running()] == numbers
    assert osvlab.running()[0] is first
    for vm in osvlab.running():
        vm.stop()
    assert osvlab.running() == []


@pytest.mark.qemu
def test_a_guest_that_has_ended_is_not_kept(boot: Boot) -> None:
    import weakref

    machine = boot(Guest().exit(0)).machine
    vm = VM(machine)
    vm.wait(20)
    gone = weakref.ref(vm)
    del vm
    gc.collect()
    assert gone() is None
