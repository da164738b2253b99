"""What is said when QEMU does not start a machine. How guests end is tried with guests, in `test_vm`."""

from __future__ import annotations

from pathlib import Path

import pytest

from osvlab.vm import discover
from osvlab.vm.discover import ImageInUseError
from osvlab.vm.machine import Disk, DiskAccess, Machine
from osvlab.vm.qemu import QemuError
from osvlab.vm.vm import VM
from tests.vm.guests import Guest


@pytest.mark.qemu
def test_a_disk_that_another_machine_writes_to(
    guest_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = tmp_path / "disk"
    image.write_bytes(bytes(1 << 20))
    kernel = Guest().hang().assemble(guest_folder)

    def machine(access: DiskAccess) -> Machine:
        return Machine(kernel=kernel, memory=16 << 20, disks=(Disk(image, access),))

    with VM(machine(DiskAccess.WRITE)) as vm:
        with pytest.raises(ImageInUseError, match=f"disk is a disk of .* \\(process {vm.pid}\\)"):
            VM(machine(DiskAccess.SCRATCH))
        monkeypatch.setattr(discover, "folders", lambda: iter(()))  # as if another user ran it
        with pytest.raises(QemuError, match="Is another process using the image") as caught:
            VM(machine(DiskAccess.SCRATCH))
        assert str(caught.value.hint).startswith("Let the program end that has the disk open")
