"""`run`: a directory or an image becomes a running guest, on the lab kernel and on a real OSv.

The tests of OSv run where `OSVLAB_OSV_KERNEL` names a kernel file of OSv.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import osvlab
from osvlab.errors import OsvlabError
from osvlab.events import listening
from osvlab.image.image import Image
from osvlab.kernels import Boot, Kernel, KernelError
from osvlab.paths import PathNotFoundError
from osvlab.vm.machine import Disk, DiskAccess, MachineError, MachineKind
from osvlab.vm.outcome import Crashed, Exited, TimedOut
from osvlab.vm.run import run
from tests.vm.guests import Guest

pytestmark = pytest.mark.qemu

OSV = os.environ.get("OSVLAB_OSV_KERNEL")

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "hello";
    if (!strcmp(what, "return")) return atoi(argv[2]);
    if (!strcmp(what, "exit")) exit(atoi(argv[2]));
    if (!strcmp(what, "crash")) *(volatile int *)0x10 = 1;
    if (!strcmp(what, "abort")) { puts("aborting"); fflush(stdout); abort(); }
    if (!strcmp(what, "hang")) { puts("hanging"); fflush(stdout); for (;;) pause(); }
    if (!strcmp(what, "env")) printf("[%s]\n", getenv(argv[2]) ? getenv(argv[2]) : "unset");
    if (!strcmp(what, "cat")) { char line[80]; while (fgets(line, 80, stdin)) printf("<%s>\n", line); }
    if (!strcmp(what, "hello")) printf("Hello from %d arguments\n", argc);
    return 0;
}
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one program, compiled as anybody would."""
    folder = tmp_path_factory.mktemp("app")
    command = ["gcc", "-x", "c", "-", "-o", str(folder / "program")]
    subprocess.run(command, input=PROGRAM.encode(), check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def image(app: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return osvlab.build(app, "/program", output=tmp_path_factory.mktemp("image") / "app.img")


# The lab kernel


def test_a_directory(app: Path) -> None:
    with run(app, timeout=60) as vm:
        vm.wait_for("Hello from 1 arguments\n", 60)
        assert vm.wait(60) == Exited(0)
        assert vm.machine.kind is MachineKind.MICROVM
    assert vm.image is not None
    assert not vm.image.path.exists()  # it was the VM's own


@pytest.mark.parametrize("given", ["image", "path", "string"])
def test_an_image(image: Image, given: str) -> None:
    before = image.path.read_bytes()
    source = {"image": image, "path": image.path, "string": str(image.path)}[given]
    with run(source, timeout=60) as vm:
        assert vm.wait(60) == Exited(0)
    assert image.path.read_bytes() == before


@pytest.mark.parametrize("machine", ["microvm", "pc", "q35"])
def test_machines(image: Image, machine: str) -> None:
    with run(image, "/program return 5", machine=machine, timeout=60) as vm:
        assert vm.wait(60) == Exited(5)
        assert vm.machine.kind == machine


@pytest.mark.parametrize(("how", "status"), [("return 3", 3), ("exit 4", 4), ("return 255", 255)])
def test_status(image: Image, how: str, status: int) -> None:
    with run(image, f"/program {how}", timeout=60) as vm:
        assert vm.wait(60) == Exited(status)


def test_crash(image: Image) -> None:
    with run(image, "/program crash", timeout=60) as vm:
        outcome = vm.wait(60)
    assert isinstance(outcome, Crashed)
    assert "0x10" in outcome.report.fault
    assert outcome.report.backtrace[0].symbol == "main"
    assert outcome.report.backtrace[0].object == "/program"
    assert "rip" in outcome.report.registers


def test_hang(image: Image) -> None:
    with run(image, "/program hang", timeout=3) as vm:
        vm.wait_for("hanging", 60)
        assert vm.wait(60) == TimedOut(3)


def test_environment(image: Image) -> None:
    with run(image, "/program env WORDS", env={"WORDS": r"two words \ one"}, timeout=60) as vm:
        assert vm.wait_for(r"\[(.*)\]\n", 60)[1] == r"two words \ one"


def test_typing(image: Image) -> None:
    with run(image, "/program cat", timeout=60) as vm:
        vm.wait_for("Cmdline:.*\n", 60)
        mark = vm.write("first line\n")
        vm.wait_for("<first line\n>", 60, since=mark)


def test_boot_timeline(image: Image) -> None:
    with run(image, timeout=60) as vm:
        vm.wait(60)
        timeline = vm.boot
    assert timeline is not None
    assert [timeline.steps[0].name, timeline.steps[-1].name] == [
        "QEMU and firmware", "application to its first line",
    ]  # fmt: skip
    assert all(step.duration >= 0 for step in timeline.steps)
    assert 0 < timeline.total < 60
    assert timeline.first_output is not None
    assert timeline.application_output is not None
    assert timeline.first_output <= timeline.application_output


def test_the_command_may_begin_with_kernel_options(image: Image) -> None:
    with run(image, "--env=WORDS=x /program env WORDS", timeout=60) as vm:
        vm.wait_for(r"\[x\]", 60)


def test_verbose(image: Image) -> None:
    with run(image, verbose=True, timeout=60) as vm:
        vm.wait(60)
        assert "--verbose" in vm.machine.command_line


def test_many_guests_share_an_image(image: Image) -> None:
    vms = [run(image, f"/program return {n}", timeout=120) for n in range(4)]
    assert [vm.wait(120) for vm in vms] == [Exited(n) for n in range(4)]


def test_an_image_with_an_unknown_filesystem_is_not_written_to(
    image: Image, guest_folder: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    content = bytearray(image.path.read_bytes())
    root = image.root_partition
    content[root.offset : root.offset + 8] = b"not rofs"
    disk.write_bytes(content)
    with run(disk, kernel=Guest().exit(0).assemble(guest_folder), timeout=60) as vm:
        assert vm.machine.disks == (Disk(disk, DiskAccess.SCRATCH),)


# What does not fit


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(PathNotFoundError, match="no such image or directory"):
        run(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["empty", "text", "short"])
def test_a_file_that_is_no_image(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes({"empty": b"", "text": b"hello\n" * 1000, "short": bytes(510) + b"\x55\xaa"}[kind])
    with pytest.raises(OsvlabError, match=r"file|disk"):
        run(path)


def test_an_empty_directory_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(OsvlabError, match="empty"):
        run(tmp_path / "empty")
    assert not list((tmp_path / "osvlab" / "vms").iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"memory": "lots"}, "not a size"),
        ({"memory": "1000"}, "1000 B"),
        ({"cpus": 0}, "0 CPUs"),
        ({"machine": "vax"}, "no such machine: vax"),
        ({"timeout": 0}, "not a timeout"),
        ({"timeout": float("nan")}, "not a timeout"),
        ({"kernel": "/no/such/kernel"}, "no such kernel"),
        ({"env": {"A=B": "c"}}, "A=B"),
    ],
)
def test_bad_options(image: Image, options: dict[str, object], said: str) -> None:
    with pytest.raises(OsvlabError, match=said):
        run(image, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("memory", ["1M", "2M"])
def test_memory_that_does_not_even_hold_the_kernel(image: Image, memory: str) -> None:
    # Such a guest cannot say a word; QEMU would run nothing, for ever.
    with pytest.raises(OsvlabError, match=rf"{memory[0]} MiB of memory do not hold the kernel lab-kernel"):
        run(image, memory=memory)


def test_a_command_that_the_kernel_would_cut_off(image: Image) -> None:
    with pytest.raises(OsvlabError, match="there is room for 32255") as caught:
        run(image, "/hello " + "x" * 32768)
    assert "runscript" in str(caught.value.hint)


def test_the_longest_command_arrives_whole(image: Image) -> None:
    command = "/absent " + "x" * (32255 - len("--rootfs=rofs /absent ") - 1) + "y"
    with run(image, command, timeout=60) as vm:
        vm.wait()
    assert f"Cmdline: {command}\n" in vm.console.text


def test_the_current_directory_is_not_taken_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PathNotFoundError, match="no such image or directory: ''"):
        run("")


# A kernel that starts from its own disk: its marks are OSv's, its code is ours


@pytest.fixture
def loader(tmp_path: Path) -> Path:
    """A disk that says its command line on the serial port, from its boot sector, and exits with 0."""
    boot = bytes.fromhex(
        "fa"  # cli
        "31c08ed88ec0"  # xor ax, ax; mov ds, ax; mov es, ax
        "bc007c8ed0"  # mov sp, 0x7C00; mov ss, ax
        "b80102bb007eb90200ba8000cd13"  # read one sector, number 2, of the disk to 0x7E00
        "be007e"  # mov si, 0x7E00
        "baf803"  # mov dx, 0x3F8
        "fc"  # cld
        "ac84c07403eeebf8"  # lodsb; test al, al; jz +3; out dx, al; jmp back
        "b000e6f4"  # mov al, 0; out 0xF4, al
        "f4ebfd"  # hlt; jmp back
    )
    disk = bytearray(2 << 20)
    disk[: len(boot)] = boot
    disk[0x1B8:0x1BB] = b"VSO"
    disk[510:512] = b"\x55\xaa"
    disk[1 << 16 : (1 << 16) + 5] = b"\x7fELF\x01"
    path = tmp_path / "loader.img"
    path.write_bytes(disk)
    return path


def test_a_disk_that_boots_itself(loader: Path) -> None:
    image = Image.open(loader)
    image.command_line = "--rootfs=rofs /as-it-is"
    with run(image, kernel=loader, timeout=60) as vm:
        assert vm.wait(60) == Exited(0)
    assert "/as-it-is" in vm.console.text


def test_another_command_goes_into_a_copy(loader: Path) -> None:
    Image.open(loader).command_line = "--power-off-on-abort /as-it-is"
    before = loader.read_bytes()
    with run(loader, "/other", env={"A": "b"}, timeout=60) as vm:
        assert vm.machine.kernel is None
        assert vm.machine.kind is MachineKind.PC
        assert vm.wait(60) == Exited(0)
    assert vm.console.text.endswith("--env=A=b --power-off-on-abort /other")
    assert loader.read_bytes() == before


def test_a_kernel_that_the_disk_does_not_hold(loader: Path, image: Image) -> None:
    with pytest.raises(KernelError, match="does not hold the kernel"):
        run(image, kernel=loader)


def test_no_microvm_for_a_disk(loader: Path) -> None:
    with pytest.raises(MachineError, match="boots from its own disk"):
        run(loader, machine="microvm")


# Real OSv: no exit status, aborts that halt, no clock on a microvm


@pytest.fixture(scope="module")
def osv() -> Kernel:
    if not OSV:
        pytest.skip("OSVLAB_OSV_KERNEL names no OSv kernel")
    return Kernel.open(OSV)


def test_osv_runs_the_same_directory(app: Path, osv: Kernel) -> None:
    with run(app, kernel=osv, timeout=60) as vm:
        vm.wait_for("Hello from 1 arguments\n", 60)
        assert vm.wait(60) == Exited(None)
        assert vm.boot is None


@pytest.mark.parametrize(("how", "status"), [("return 3", 3), ("exit 4", 4), ("return 0", 0)])
def test_osv_tells_the_status_when_verbose(app: Path, osv: Kernel, how: str, status: int) -> None:
    with run(app, f"/program {how}", kernel=osv, verbose=True, timeout=60) as vm:
        assert vm.wait(60) == Exited(status)


@pytest.mark.parametrize("how", ["crash", "abort"])
def test_osv_crashes_end(app: Path, osv: Kernel, how: str) -> None:
    with run(app, f"/program {how}", kernel=osv, timeout=60) as vm:
        outcome = vm.wait(60)
    assert isinstance(outcome, Crashed)
    assert outcome.report.backtrace


def test_osv_hangs_end(app: Path, osv: Kernel) -> None:
    with run(app, "/program hang", kernel=osv, timeout=8) as vm:
        vm.wait_for("hanging", 60)
        assert vm.wait(60) == TimedOut(8)


def test_osv_without_its_program(app: Path, osv: Kernel, tmp_path: Path) -> None:
    image = osvlab.build(app, "/program", kernel=osv, output=tmp_path / "osv.img")
    with run(image, "/nothing", kernel=osv, timeout=60) as vm:
        assert vm.wait(60) == Exited(127)


def test_osv_environment(app: Path, osv: Kernel) -> None:
    with run(app, "/program env WORDS", kernel=osv, env={"WORDS": "two words"}, timeout=60) as vm:
        assert vm.wait_for(r"\[(.*)\]\r?\n", 60)[1] == "two words"


def test_one_image_for_both_kernels(image: Image, osv: Kernel) -> None:
    if osv.boot is not Boot.PVH:
        pytest.skip("a kernel that boots from its own disk needs an image of its own")
    with run(image, "/program return 6", kernel=osv, verbose=True, timeout=60) as vm:
        assert vm.wait(60) == Exited(6)


def test_osv_is_not_sent_to_a_microvm_without_kvm(
    app: Path, osv: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSVLAB_ACCELERATOR", "tcg")
    with pytest.raises(MachineError, match="does not boot on a microvm"):
        run(app, kernel=osv, machine="microvm")


def test_changes_are_not_kept_where_nobody_would_find_them(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="goes away with the VM, and all changes with it") as caught:
        run(tmp_path, persist=True)
    assert "osvlab.build" in str(caught.value.hint)


@pytest.mark.parametrize("format", ["qcow2", "vmdk", "vdi"])
def test_a_disk_in_a_container_is_unpacked_and_runs(image: Image, format: str, tmp_path: Path) -> None:
    packed = tmp_path / f"app.{format}"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", format, image.path, packed], check=True)
    before = packed.read_bytes()
    told: list[str] = []
    with listening(lambda event: told.append(event.data.get("step", ""))), run(packed, timeout=60) as vm:
        assert vm.wait(60) == Exited(0)
    assert f"unpack the {format} file" in told
    with run(Image.open(packed), "/program return 7", timeout=60) as vm:
        assert vm.wait(60) == Exited(7)
    assert packed.read_bytes() == before
    with pytest.raises(MachineError, match=f"is a {format} file, .* changes would be lost"):
        run(packed, persist=True)
