"""Empty VMs that fill disks, and all that can keep them from it.

OSv's builder takes part when OSVLAB_OSV_ZFS_BUILDER names it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from osvlab.events import Event, StepFailed, StepFinished, StepProgress, listening
from osvlab.filesystems import disk
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.opening import open as open_filesystem
from osvlab.filesystems.output import ChangedFileError
from osvlab.filesystems.tree import Content, Directory, Node
from osvlab.image import empty_vm
from osvlab.image.build import build
from osvlab.image.empty_vm import Builder, EmptyVmError, fill, lab_builder, osv_builder
from osvlab.image.writing import DiskFullError
from osvlab.kernels import Kernel
from osvlab.vm.folder import Folder
from osvlab.vm.vm import VM, running
from tests.vm.guests import Guest

pytestmark = pytest.mark.qemu

OSV_BUILDER = os.environ.get("OSVLAB_OSV_ZFS_BUILDER")


@pytest.fixture(scope="module")
def lab() -> Builder:
    return lab_builder(verbose=False)


@pytest.fixture(scope="module")
def osv() -> Builder:
    if not OSV_BUILDER:
        pytest.skip("OSVLAB_OSV_ZFS_BUILDER names no builder of OSv")
    return osv_builder(OSV_BUILDER, verbose=False)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Whatever happened, no VM of this Python runs, and none of their folders is there."""
    before = set(Folder.held)
    yield
    assert not running()
    assert set(Folder.held) == before


def blank(path: Path, size: int) -> Path:
    """A disk with an empty partition in slot 2."""
    with path.open("wb") as file:
        file.write(disk.make_boot_sector(None, 0, [Partition(2, disk.TYPE_LINUX, 1 << 20, size)]))
        file.truncate((1 << 20) + size)
    return path


def noise(megabytes: int) -> Directory:
    """Files of a megabyte that cannot be compressed."""
    return Directory({b"n%d" % number: Content(os.urandom(1 << 20)) for number in range(megabytes)})


# --- the VM alone -----------------------------------------------------------------------------------------


def test_it_formats_and_fills(lab: Builder, tmp_path: Path) -> None:
    tree = Directory({b"etc": Directory({b"motd": Content(b"welcome")}, 0o700, 5 * 10**9)})
    events: list[Event] = []
    seen: list[VM] = []
    path = blank(tmp_path / "disk", 64 << 20)
    with listening(events.append):
        said = fill(lab, path, tree, started=seen.append)
    assert "Running mkfs...\n" in said
    assert "cpiod finished\n" in said
    assert "Adding" not in said
    assert [event.step for event in events if isinstance(event, StepFinished)] == [
        "boot an empty VM", "format its disk", "upload", "seal the pool",
    ]  # fmt: skip
    assert not seen[0].running
    with open_filesystem(path) as files:
        assert (files / "etc/motd").read_text() == "welcome"
        assert files.find("/etc").modified == 5 * 10**9
        assert files.check().ok


def test_it_says_of_each_file_that_it_comes(tmp_path: Path) -> None:
    said = fill(lab_builder(), blank(tmp_path / "disk", 64 << 20), Directory({b"motd": Content(b"")}))
    assert "Adding /motd...\n" in said


def test_a_name_like_an_error_is_none(tmp_path: Path) -> None:
    tree = Directory({b"bad cpio magic": Content(b""), b"l": Content(b"No space left on device")})
    fill(lab_builder(), blank(tmp_path / "disk", 64 << 20), tree)


@pytest.mark.parametrize(
    "line",
    [
        "mkfs: command failed (ret=1): zpool create -f -R /zfs osv /dev/vblk0.1",
        "mkfs: cannot format /dev/vblk0.1: I/O error",
        "cannot export 'osv': pool is busy",
        "cannot create 'osv': one or more devices is less than the minimum size (64M)",
        "  what():  bad cpio magic: 'abcdef'",
        "umount /zfs failed, error = Device or resource busy",
        "Failed to load object: /zpool.so. Powering off.",
        "/fifo: unknown type 4096",
        "[backtrace]",
    ],
)
def test_what_guests_say_when_they_fail(line: str) -> None:
    found = empty_vm._FAILED.search(f"Running mkfs...\n{line}\nPowering off.\n")
    assert found is not None
    assert found[0] == line


@pytest.mark.parametrize("size", [1 << 16, 1 << 20, 63 << 20])
def test_a_disk_that_is_too_small_for_any_pool(lab: Builder, tmp_path: Path, size: int) -> None:
    with pytest.raises(
        EmptyVmError, match=r"cannot format the disk: mkfs: cannot format /dev/vblk0\.1: No sp"
    ):
        fill(lab, blank(tmp_path / "disk", size), Directory())


def test_osv_refuses_a_disk_that_is_too_small(osv: Builder, tmp_path: Path) -> None:
    with pytest.raises(
        EmptyVmError, match="cannot create 'osv': one or more devices is less than the minimum"
    ):
        fill(osv, blank(tmp_path / "disk", 1 << 20), Directory())


def test_a_disk_that_is_too_small_for_the_tree(lab: Builder, tmp_path: Path) -> None:
    with pytest.raises(
        EmptyVmError, match=r"/n\d+: No space left on device\n(.*\n)+hint: .*size="
    ) as caught:
        fill(lab, blank(tmp_path / "disk", 64 << 20), noise(66))
    assert "cpiod" in str(caught.value)


@pytest.mark.slow
def test_a_disk_that_is_too_small_for_the_tree_in_osv(osv: Builder, tmp_path: Path) -> None:
    with pytest.raises(EmptyVmError, match=r"(.*\n)*hint: .*size="):
        fill(osv, blank(tmp_path / "disk", 64 << 20), noise(66))


def test_a_disk_without_a_partition(lab: Builder, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(disk.make_boot_sector(None, 0, []) + bytes(1 << 20))
    with pytest.raises(EmptyVmError, match=r"mkfs: cannot open /dev/vblk0\.1: No such file or directory"):
        fill(lab, tmp_path / "disk", Directory())


def test_time_is_up(lab: Builder, tmp_path: Path) -> None:
    with pytest.raises(EmptyVmError, match=r"timed out after 0\.01 s"):
        fill(lab, blank(tmp_path / "disk", 64 << 20), Directory(), timeout=0.01)


def test_what_it_does_not_know() -> None:
    with pytest.raises(EmptyVmError, match="compression 'gzip' and ashift 9"):
        lab_builder(compression="gzip")
    with pytest.raises(EmptyVmError, match="compression 'lz4' and ashift 13"):
        lab_builder(ashift=13)


def test_what_osvs_does_not_know(osv: Builder) -> None:
    for options in ({"compression": "zstd"}, {"ashift": 12}):
        with pytest.raises(EmptyVmError, match="OSv's builder cannot format with"):
            osv_builder(osv.kernel.path, **options)  # type: ignore[arg-type]


# --- images that fail on their way ------------------------------------------------------------------------


@contextlib.contextmanager
def during(step: str, act: Callable[[], object]) -> Iterator[list[Event]]:
    """Do something once, as soon as a step has made some progress."""
    events: list[Event] = []

    def listener(event: Event) -> None:
        again = any(isinstance(before, StepProgress) for before in events)
        events.append(event)
        if isinstance(event, StepProgress) and event.step == step and not again:
            act()

    with listening(listener):
        yield events


def failing(app: Path, tmp_path: Path, **options: Any) -> None:
    """Build an image in a folder of its own, where an older one may be."""
    (tmp_path / "out").mkdir(exist_ok=True)
    build(app, "/hello", fs="zfs", via="vm", output=tmp_path / "out/x.img", **options)


def test_the_guest_is_killed_in_the_middle(app: Path, tmp_path: Path) -> None:
    for name, node in noise(8).children.items():
        assert isinstance(node, Content)
        (app / os.fsdecode(name)).write_bytes(node.data)
    failing(app, tmp_path)
    before = (tmp_path / "out/x.img").read_bytes()
    (app / "new").touch()

    def kill() -> None:
        (vm,) = running()
        os.kill(vm.pid, signal.SIGKILL)

    with (
        during("fill", kill) as events,
        pytest.raises(EmptyVmError, match=r"(?s)the empty VM did not take the files: .*killed by SIGKILL"),
    ):
        failing(app, tmp_path)
    assert [event.step for event in events if isinstance(event, StepFailed)] == ["fill"]
    assert os.listdir(tmp_path / "out") == ["x.img"]
    assert (tmp_path / "out/x.img").read_bytes() == before


def test_a_file_that_changes_on_its_way_is_named(app: Path, tmp_path: Path) -> None:
    (app / "zz").write_bytes(bytes(1000))
    with (
        during("fill", lambda: (app / "zz").write_bytes(b"other")),
        pytest.raises(ChangedFileError, match="zz changed while it was read"),
    ):
        failing(app, tmp_path)
    assert os.listdir(tmp_path / "out") == []


def test_the_hosts_disk_is_full(app: Path, tmp_path: Path) -> None:
    (app / "noise").write_bytes(os.urandom(6 << 20))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def shrink() -> None:
        # QEMU runs already, with a limit of its own.
        (vm,) = running()
        resource.prlimit(vm.pid, resource.RLIMIT_FSIZE, (8 << 20, limit[1]))

    with (
        during("fill", shrink),
        pytest.raises(DiskFullError, match=r"no room for .*/out/x\.img: the image needs up to 1\d\d MiB"),
    ):
        failing(app, tmp_path)
    assert os.listdir(tmp_path / "out") == []


def test_the_hosts_filesystem_is_full(app: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6M", "osvlab-test", tmp_path / "out"],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("only root can make a small filesystem")
    try:
        (app / "noise").write_bytes(os.urandom(8 << 20))
        with pytest.raises(
            DiskFullError, match=r"no room for .*/out/x\.img: the image needs up to 1\d\d MiB"
        ):
            failing(app, tmp_path)
        assert os.listdir(tmp_path / "out") == []
    finally:
        subprocess.run(["umount", tmp_path / "out"], check=True)


def test_control_c(app: Path, tmp_path: Path) -> None:
    (app / "noise").write_bytes(os.urandom(40 << 20))
    output = tmp_path / "x.img"
    words = ["build", app, "--fs", "zfs", "--via", "vm", "--json", "-o", output, "--", "/hello"]
    with subprocess.Popen(
        [sys.executable, "-m", "osvlab.cli", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        pid = None
        for line in process.stderr:
            event = json.loads(line)
            pid = event.get("pid", pid)
            if event["event"] == "StepStarted" and event["step"] == "fill":
                process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert not output.exists()
    assert not list(tmp_path.glob(".*.part"))
    assert pid is not None
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()


def test_what_did_not_arrive_is_found(app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = empty_vm.send

    def less(address: Any, tree: Directory, *rest: Any, **options: Any) -> Any:
        children: dict[bytes, Node] = {**tree.children, b"hello": Content(b"cut off")}
        return real(address, Directory(children, tree.mode, tree.mtime), *rest, **options)

    monkeypatch.setattr(empty_vm, "send", less)
    size = (app / "hello").stat().st_size
    with pytest.raises(
        EmptyVmError, match=f"another tree .* than it was given: /hello has 7 bytes, not {size}"
    ):
        failing(app, tmp_path)
    assert os.listdir(tmp_path / "out") == []


def test_a_kernel_that_ends_at_once(tmp_path: Path, guest_folder: Path) -> None:
    kernel = Kernel.open(Guest().say("good bye\n").exit(3).assemble(guest_folder))
    with pytest.raises(EmptyVmError, match=r"never said 'Running mkfs\.\.\.': "):
        fill(Builder(kernel, "", 16 << 20, "osv"), blank(tmp_path / "disk", 64 << 20), Directory())
