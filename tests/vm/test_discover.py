"""Guests of this user, whichever Python started them: found by name, by process, or as the only one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from osvlab.guest import Address
from osvlab.vm import discover
from osvlab.vm.discover import (
    ImageInUseError,
    NoGuestError,
    RunningGuest,
    find,
    refuse_use,
    running_guests,
)
from osvlab.vm.machine import Disk, DiskAccess, Machine
from osvlab.vm.network import Network, NetworkError
from osvlab.vm.vm import VM
from tests.vm.guests import Guest

pytestmark = pytest.mark.qemu

Start = Callable[..., VM]


@pytest.fixture
def start(guest_folder: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Boot guests that hang; nobody else's are to be found."""
    running: list[VM] = []
    folders: list[Path] = []
    monkeypatch.setattr(discover, "folders", lambda: iter(folders))

    def start(network: Network | None = None) -> VM:
        kernel = Guest().hang().assemble(guest_folder)
        networks = () if network is None else (network,)
        running.append(VM(Machine(kernel=kernel, memory=16 << 20, networks=networks)))
        folders.append(running[-1].folder)
        return running[-1]

    yield start
    for vm in running:
        vm.stop()


def test_nobody_and_the_only_one(start: Start) -> None:
    with pytest.raises(NoGuestError, match="no guest runs") as caught:
        find()
    assert caught.value.hint == "Start one: osvlab run."
    vm = start(Network.of([8000]))
    (guest,) = running_guests()
    assert (guest.pid, guest.machine) == (vm.pid, str(vm.machine))
    assert guest.name == vm.folder.name.removeprefix("vm-")
    assert find() == find(guest.name[:3]) == find(str(vm.pid)) == guest
    assert guest.address(8000) == Address("127.0.0.1", vm.ports[8000])
    with pytest.raises(NetworkError, match=r"port 80 of the guest .* is not forwarded; forwarded: 8000"):
        guest.address(80)
    with pytest.raises(NoGuestError, match="no guest zz runs; there are:"):
        find("zz")
    vm.stop()
    assert running_guests() == []


def test_two_have_to_be_told_apart(start: Start) -> None:
    first, second = start(), start()
    with pytest.raises(NoGuestError, match="more than one guest is meant") as caught:
        find()
    for vm in (first, second):
        assert f"process {vm.pid}: " in caught.value.message
        found = find(str(vm.pid))
        assert isinstance(found, RunningGuest)
        assert found.pid == vm.pid


def test_an_address_is_taken_at_its_word() -> None:
    assert find("127.0.0.1:8000") == Address("127.0.0.1", 8000)


def test_one_that_was_killed_is_none(start: Start) -> None:
    vm = start()
    os.kill(vm.pid, signal.SIGKILL)
    vm.wait(20)
    assert running_guests() == []


def test_a_folder_without_word_of_its_guest_is_passed_over(start: Start) -> None:
    vm = start()
    (vm.folder / "ports.json").unlink()
    assert running_guests() == []


def test_an_image_in_use_is_refused_with_the_name_of_who_uses_it(
    guest_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = tmp_path / "disk"
    image.write_bytes(bytes(1 << 20))
    other = tmp_path / "other"
    other.symlink_to(image)
    kernel = Guest().hang().assemble(guest_folder)
    for access, only_read in ((DiskAccess.READ_ONLY, True), (DiskAccess.WRITE, False)):
        with VM(Machine(kernel=kernel, memory=16 << 20, disks=(Disk(image, access),))) as vm:
            folder = vm.folder
            monkeypatch.setattr(discover, "folders", lambda folder=folder: iter([folder]))
            with pytest.raises(ImageInUseError, match=f"running guest .* \\(process {vm.pid}\\)"):
                refuse_use(other)
            if only_read:
                refuse_use(other, writers_only=True)
            else:
                with pytest.raises(ImageInUseError):
                    refuse_use(other, writers_only=True)
            refuse_use(tmp_path / "absent")
    refuse_use(other)
