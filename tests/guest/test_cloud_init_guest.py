"""cloud-init in guests: from a disk, from a web server, from a file; before the application."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import osvlab
from osvlab.demo import static_busybox
from osvlab.guest import CloudConfig, CloudConfigError
from osvlab.vm.machine import MachineError

pytestmark = pytest.mark.qemu

LIMIT = 120


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with busybox and a configuration that cannot be right."""
    folder = tmp_path_factory.mktemp("cloud")
    shutil.copy(static_busybox(), folder / "busybox")
    (folder / "bad.yaml").write_text("files:\n  /tmp/first: x\n\nusers: []\nhostname: second\n")
    return folder


@pytest.fixture(scope="module")
def image(app: Path, tmp_path_factory: pytest.TempPathFactory) -> osvlab.Image:
    output = tmp_path_factory.mktemp("cloud-image") / "image"
    return osvlab.build(app, "/busybox true", modules=["cloud-init"], output=output)


def console(image: osvlab.Image | Path, command: str, **options: object) -> list[str]:
    with osvlab.run(image, command, timeout=LIMIT, **options) as vm:  # type: ignore[arg-type]
        vm.wait()
        lines = vm.console.lines()
    return lines[next(n for n, line in enumerate(lines) if line.startswith("Cmdline:")) + 1 :]


def test_a_disk_configures_the_guest_before_the_application(app: Path) -> None:
    config = CloudConfig.make(
        hostname="web",
        files={"/tmp/a/b": "from the configuration\n"},
        env={"COLOUR": "deep blue"},
        commands=['/busybox echo "from a command"'],
    )
    command = "/busybox hostname; /busybox cat /tmp/a/b; /busybox env"
    said = console(app, command, cloud_init=config)  # a directory gets the module by itself
    assert "COLOUR=deep blue" in said
    told = ["from a command", "web", "from the configuration"]
    assert [line for line in said if line in told] == told


def test_a_web_server_of_this_host_configures_the_guest(image: osvlab.Image) -> None:
    with CloudConfig.make(files={"/tmp/x": "over the network\n"}).serve() as address:
        fetch = f"/usr/mgmt/cloud-init.so --server=10.0.2.2 --port={address.port} --url=/user-data"
        said = console(image, f"{fetch}; /busybox cat /tmp/x", network=True)
    assert "over the network" in said


def test_an_unknown_key_is_named_with_its_line(image: osvlab.Image) -> None:
    program = "/usr/mgmt/cloud-init.so --file=/bad.yaml"
    said = console(image, f"{program}; /busybox cat /tmp/first; /busybox hostname")
    assert "cloud-init failed when handling 'users': line 4: unknown key" in said
    assert "second" not in said  # what comes after it is not done
    said = console(image, f"{program} --skip-error; /busybox hostname")
    assert said[-1] == "second"


def test_what_nobody_would_read_is_refused(app: Path, image: osvlab.Image, tmp_path: Path) -> None:
    plain = osvlab.build(app, "/busybox true", output=tmp_path / "plain.img")
    with pytest.raises(MachineError, match=r"plain\.img has no cloud-init") as caught:
        osvlab.run(plain, cloud_init="hostname: x")
    assert "modules=['cloud-init']" in (caught.value.hint or "")
    with pytest.raises(CloudConfigError, match="the lab kernel's cloud-init does not support mounts"):
        osvlab.run(image, cloud_init={"mounts": [["server:/x", "/mnt", "nfs"]]})
