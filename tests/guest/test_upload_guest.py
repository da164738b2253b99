"""The upload of trees into a guest, through its network, as seen by its REST API afterwards."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import osvlab
from osvlab.guest import GuestTimeoutError, UploadError, upload

pytestmark = pytest.mark.qemu

STAY = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upload")
    subprocess.run(["gcc", "-x", "c", "-", "-o", folder / "stay"], input=STAY, text=True, check=True)
    return folder


def test_a_tree_arrives_in_a_guest(app: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "etc" / "empty").mkdir(parents=True)
    (tree / "two blanks ü").write_text("named oddly")
    (tree / "etc" / "big").write_bytes(os.urandom(3_000_001))
    (tree / "etc" / "big").chmod(0o755)
    (tree / "link").symlink_to("etc/big")
    command = "/tools/cpiod.so --prefix /tmp/; /stay"
    with osvlab.run(
        app, command, modules=["cpiod", "httpserver"], ports=[8000, 10000], memory="128M", timeout=120
    ) as vm:
        sent = upload(vm, tree)
        assert (sent.entries, sent.confirmed) == (5, True)
        vm.wait_for("cpiod finished")
        files = vm.rest.files
        assert files.get("/tmp/two blanks ü") == b"named oddly"
        assert files.get("/tmp/link") == (tree / "etc" / "big").read_bytes()
        assert files.stat("/tmp/etc/big").permission & 0o777 == 0o755
        assert files.list("/tmp/etc/empty") == []


def test_a_guest_that_refuses_says_which_file(app: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hosts").write_text("x" * 1000)
    command = "/tools/cpiod.so --prefix /; /stay"  # the disk of the guest is read-only
    with (
        osvlab.run(app, command, modules=["cpiod"], ports=[10000], timeout=60) as vm,
        pytest.raises(UploadError, match=r"refused the upload: /etc: Read-only file system"),
    ):
        upload(vm, tmp_path)


def test_a_guest_whose_daemon_never_waits(app: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        osvlab.run(app, "/stay", ports=[10000], timeout=60) as vm,
        pytest.raises(GuestTimeoutError, match="sign of the guest's upload daemon"),
    ):
        upload(vm, tmp_path, timeout=2)
