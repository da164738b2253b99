"""The typed REST client against a lab guest and a real OSv, with the same tests.

A real OSv takes part when OSVLAB_OSV_HTTPSERVER names its kernel and OSVLAB_OSV_HTTPSERVER_IMAGE a disk
with /libhttpserver-api.so on it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import osvlab
from osvlab.errors import OsvlabError
from osvlab.guest import GuestTimeoutError, GuestUnreachableError, RestError, RestNotFoundError
from osvlab.guest.models import FileKind
from osvlab.kernels import KernelKind
from osvlab.vm.network import NetworkError
from osvlab.vm.vm import VM

pytestmark = pytest.mark.qemu

KERNEL, DISK = os.environ.get("OSVLAB_OSV_HTTPSERVER"), os.environ.get("OSVLAB_OSV_HTTPSERVER_IMAGE")
ABSENT = pytest.mark.skipif(not (KERNEL and DISK), reason="OSVLAB_OSV_HTTPSERVER and ..._IMAGE are not set")
STAY = "#include <unistd.h>\nint main(int c, char **v) { for (; c == 1 || !v;) pause(); return 0; }\n"


def lab_tree(folder: Path) -> Path:
    folder.mkdir()
    subprocess.run(["gcc", "-x", "c", "-", "-o", folder / "stay"], input=STAY, text=True, check=True)
    return folder


@pytest.fixture(scope="module", params=["lab", pytest.param("osv", marks=ABSENT)])
def vm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VM]:
    folder = tmp_path_factory.mktemp("rest")
    with ExitStack() as stack:
        if request.param == "lab":
            tree = lab_tree(folder / "tree")
            run = osvlab.run(tree, "/stay", modules=["httpserver"], ports=[8000], memory="128M", timeout=600)
        else:
            disk = folder / "osv.img"
            shutil.copy(str(DISK), disk)
            # The image's own script would start a second server, and the loser ends the guest.
            command = "--rootfs=rofs --noinit /libhttpserver-api.so"
            run = osvlab.run(
                disk, command, kernel=str(KERNEL), machine="pc", ports=[8000], memory="256M", timeout=600
            )
        vm = stack.enter_context(run)
        vm.rest.wait(120)
        yield vm


def is_lab(vm: VM) -> bool:
    return vm.kernel is not None and vm.kernel.kind is KernelKind.LAB


def test_os(vm: VM) -> None:
    system = vm.rest.os
    assert system.name()
    assert system.vendor()
    assert system.version()
    before = system.uptime()
    assert 0 <= before <= system.uptime() < 600
    assert system.date()
    assert isinstance(system.dmesg(), str)
    assert "httpserver" in system.cmdline() or "/stay" in system.cmdline()
    total, free = system.memory.total(), system.memory.free()
    assert 64 << 20 < free < total <= 256 << 20
    system.set_hostname("web1")
    assert system.hostname() == "web1"


def test_threads(vm: VM) -> None:
    threads = vm.rest.os.threads()
    assert len(threads) > 2
    assert [thread.id for thread in threads] == sorted({thread.id for thread in threads})
    assert all(thread.name and thread.status for thread in threads)
    assert sum(thread.cpu_ms for thread in threads) > 0


def test_files(vm: VM) -> None:
    files = vm.rest.files
    data = bytes(range(256)) * 40
    files.mkdir("/tmp/rest/deep")
    files.put("/tmp/rest/data", data, permission=0o640)
    assert files.get("/tmp/rest/data") == data
    assert files.get("/tmp/rest/data", 100, 50) == data[100:150]
    assert files.get("/tmp/rest/data", len(data) + 5) == b""
    status = files.stat("/tmp/rest/data")
    assert (status.kind, status.size, status.permission & 0o777) == (FileKind.FILE, len(data), 0o640)
    files.put("/tmp/rest/text", "ü\n")
    files.append("/tmp/rest/text", "more")
    assert files.get("/tmp/rest/text") == "ü\nmore".encode()
    files.copy("/tmp/rest/text", "/tmp/rest/copy")
    files.rename("/tmp/rest/copy", "/tmp/rest/moved")
    assert [entry.name for entry in files.list("/tmp/rest")] == ["data", "deep", "moved", "text"]
    assert not files.exists("/tmp/rest/copy")
    files.delete("/tmp/rest/moved")
    files.delete("/tmp/rest", recursive=True)
    assert not files.exists("/tmp/rest")


def test_files_of_the_host(vm: VM, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(300_000))
    vm.rest.files.upload(source, "/tmp/uploaded")
    assert vm.rest.files.download("/tmp/uploaded", tmp_path / "back") == 300_000
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    with pytest.raises(RestNotFoundError):
        vm.rest.files.download("/tmp/none", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_files_that_are_not_there(vm: VM) -> None:
    files = vm.rest.files
    for ask in (files.get, files.stat, files.list):
        with pytest.raises(RestNotFoundError, match="none") as caught:
            ask("/tmp/none")
        assert caught.value.status == 404
    with pytest.raises(IsADirectoryError):
        files.get("/tmp")
    with pytest.raises(OsvlabError, match="not an absolute path"):
        files.get("etc/hosts")
    with pytest.raises(RestError):
        files.delete("/tmp/none")


def test_environment(vm: VM) -> None:
    env = vm.rest.env
    env["REST_TEST"] = "a b=ü&c"
    assert env["REST_TEST"] == "a b=ü&c"
    assert dict(env)["REST_TEST"] == "a b=ü&c"
    assert "REST_TEST" in env
    del env["REST_TEST"]
    assert "REST_TEST" not in env
    with pytest.raises(KeyError):
        env["REST_TEST"]
    with pytest.raises(KeyError):
        del env["REST_TEST"]
    with pytest.raises(OsvlabError, match="not a name"):
        env["A=B"] = "c"


def test_programs(vm: VM) -> None:
    with pytest.raises(RestError, match="/no/such"):
        vm.rest.app.start("/no/such")
    if not is_lab(vm):
        return  # the image has no other program
    vm.rest.app.run("/stay once")
    (thread,) = vm.rest.app.start("/stay")
    assert not vm.rest.app.finished(thread)
    with pytest.raises(GuestTimeoutError, match="end of '/stay'"):
        vm.rest.app.run("/stay", timeout=0.3)


def test_hardware(vm: VM) -> None:
    hardware = vm.rest.hardware
    assert hardware.processors() == 1
    assert "ssse3" in hardware.flags()
    assert isinstance(hardware.firmware_vendor(), str)
    assert isinstance(hardware.hypervisor(), str)


def test_network(vm: VM) -> None:
    network = vm.rest.network
    interfaces = {interface.config.name: interface for interface in network.interfaces()}
    assert interfaces["eth0"].config.addr == "10.0.2.15"
    assert interfaces["eth0"].config.mask == "255.255.255.0"
    assert network.interface("eth0").data["ifi_ipackets"] > 0
    local = next(route for route in network.routes() if route.destination == "10.0.2.0/24")
    assert (local.netif, local.flags) == ("eth0", "U")
    with pytest.raises(RestNotFoundError):
        network.interface("eth7")


def test_tracepoints(vm: VM) -> None:
    trace = vm.rest.trace
    name = next(event.name for event in trace.events() if "sched" in event.name)
    assert trace.event(name).name == name
    assert trace.events(f"^{name}$")[0].name == name
    if is_lab(vm):
        with pytest.raises(RestError, match="counts events and does not record them"):
            trace.enable(name)
    else:
        trace.enable(name)
        assert trace.event(name).enabled
        trace.enable(name, False)
    trace.count(name)
    assert name in {counter.name for counter in trace.counts()}
    trace.clear_counts()
    with pytest.raises(RestNotFoundError):
        trace.event("none_of_that_name")


def test_batch_and_file_systems(vm: VM) -> None:
    first, second = vm.rest.batch([("GET", "/os/uptime"), ("GET", "/no/such")])
    assert first.status == 200
    assert int(first.value) >= 0
    assert second.status == 404
    usage = {found.mount: found for found in vm.rest.df()}
    assert "/" in usage
    assert vm.rest.df("/")[0].btotal == usage["/"].btotal


def test_requests_that_the_guest_refuses(vm: VM) -> None:
    with pytest.raises(RestNotFoundError, match="GET /no/such: the guest says 404"):
        vm.rest.get("/no/such")
    with pytest.raises(RestError):
        vm.rest.request("POST", "/os/hostname")  # without a name


def test_a_guest_that_has_ended_or_has_no_port(tmp_path: Path) -> None:
    tree = lab_tree(tmp_path / "tree")
    with osvlab.run(tree, "/stay", modules=["httpserver"], ports=[8000], timeout=60) as vm:
        assert vm.rest.os.name()
        rest = vm.rest
        rest.os.poweroff()
        vm.wait(30)
        with pytest.raises(GuestUnreachableError, match="the guest has ended"):
            rest.os.name()
    with (
        osvlab.run(tree, "/stay", timeout=60) as vm,
        pytest.raises(NetworkError, match="port 8000") as caught,
    ):
        vm.rest.os.name()
    assert caught.value.hint


def test_a_guest_without_the_module(tmp_path: Path) -> None:
    with osvlab.run(lab_tree(tmp_path / "tree"), "/stay", ports=[8000], timeout=60) as vm:
        vm.wait_for("Cmdline")
        vm.rest.timeout = 1
        began = time.monotonic()
        with pytest.raises(GuestUnreachableError, match="nothing answers") as caught:
            vm.rest.os.name()
        assert time.monotonic() - began < 10
    assert "modules=['httpserver']" in (caught.value.hint or "")
