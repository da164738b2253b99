"""Guests boot from the pools that the host or an empty VM fills, find all that is in them, and change them.

A real OSv takes part when OSVLAB_OSV_ZFS_KERNEL names its kernel, one that has libsolaris.so linked in
(built with fs=zfs), and OSVLAB_OSV_ZFS_BUILDER one that fills disks. What a guest has written is checked
afterwards: by our reader, and by OpenZFS's zdb
where OSVLAB_ZDB names it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from osvlab.demo import static_busybox
from osvlab.filesystems.base import Kind
from osvlab.image.build import build
from osvlab.image.image import Image
from osvlab.kernels import Kernel
from osvlab.vm.discover import ImageInUseError
from osvlab.vm.outcome import Exited
from osvlab.vm.run import run
from tests.filesystems.zfs.trees import make_tree
from tests.image.pools import judge, pool_of

OSV = os.environ.get("OSVLAB_OSV_ZFS_KERNEL")
BUILDER = os.environ.get("OSVLAB_OSV_ZFS_BUILDER")

WALK = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long files, folders, links;
static unsigned long long bytes, sum;

static void add(const unsigned char *data, long size, unsigned long long at) {
    for (long i = 0; i < size; i++)
        sum += data[i] * (at + i + 1);
}

static void read_file(const char *path) {
    static unsigned char buffer[65536];
    int fd = open(path, O_RDONLY);
    long size, at = 0;
    if (fd < 0)
        perror(path);
    while ((size = read(fd, buffer, sizeof buffer)) > 0) {
        add(buffer, size, at);
        at += size;
    }
    if (size < 0)
        perror(path);
    bytes += at;
    close(fd);
}

static void walk(const char *path) {
    DIR *folder = opendir(path);
    struct dirent *entry;
    folders++;
    while (folder && (entry = readdir(folder))) {
        char below[8192];
        static char target[5000];
        struct stat found;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        if (lstat(below, &found))
            perror(below);
        else if (S_ISDIR(found.st_mode))
            walk(below);
        else if (S_ISLNK(found.st_mode))
            links++, add((void *)target, readlink(below, target, sizeof target), 0);
        else
            files++, read_file(below);
    }
    if (folder)
        closedir(folder);
}

static int change(int count) {
    static char data[50000], path[100];
    memset(data, 'z', sizeof data);
    if (mkdir("/new", 0755))
        perror("/new");
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/new/%d", i);
        int fd = open(path, O_CREAT | O_WRONLY, 0644);
        if (fd < 0 || write(fd, data, i * 37 % 50000) < 0)
            return perror(path), 1;
        close(fd);
    }
    for (int i = 0; i < count; i += 2) {
        snprintf(path, sizeof path, "/new/%d", i);
        if (unlink(path))
            return perror(path), 1;
    }
    if (unlink("/tree/text-1500000") || unlink("/tree/link-4000") || symlink("target", "/new/link") ||
        rename("/tree/folder-1", "/new/folder"))
        return perror("change"), 1;
    sync();
    return 0;
}

int main(int argc, char **argv) {
    walk("/tree");
    printf("walked: %ld %ld %ld %llu %llu\n", files, folders, links, bytes, sum);
    return change(atoi(argv[1]));
}
"""


@pytest.fixture(scope="module", params=["lab", "osv"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    if request.param == "lab":
        return Kernel.lab()
    if not OSV:
        pytest.skip("OSVLAB_OSV_ZFS_KERNEL names no OSv kernel with ZFS")
    return Kernel.open(OSV)


@pytest.fixture(scope="module")
def osv() -> Kernel:
    if not OSV:
        pytest.skip("OSVLAB_OSV_ZFS_KERNEL names no OSv kernel with ZFS")
    return Kernel.open(OSV)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree, and a program that walks it."""
    top = tmp_path_factory.mktemp("source") / "root"
    top.mkdir()
    make_tree(top / "tree", special=False)
    command = ["gcc", "-O1", "-fpie", "-pie", "-x", "c", "-", "-o", top / "walk"]
    subprocess.run(command, input=WALK.encode(), check=True, capture_output=True, timeout=60)
    return top


def weighted(data: bytes) -> int:
    return sum(byte * (at + 1) for at, byte in enumerate(data))


def walked(top: Path) -> str:
    """What the program should say."""
    files, folders, links, size, total = 0, 1, 0, 0, 0
    for path in top.rglob("*"):
        if path.is_symlink():
            links += 1
            total += weighted(os.fsencode(os.readlink(path)))
        elif path.is_dir():
            folders += 1
        else:
            data = path.read_bytes()
            files, size, total = files + 1, size + len(data), total + weighted(data)
    return f"walked: {files} {folders} {links} {size} {total % 2**64}\n"


def boots_reads_and_writes(image: Image, top: Path, folder: Path, **options: Any) -> None:
    """Let a guest read all that is in an image and change some, and look at what it left."""
    with run(image, memory="512M", persist=True, timeout=250, **options) as vm:
        vm.wait_for(walked(top / "tree"), 200)
        assert vm.wait(150) == Exited(0)
    judge(image, folder)
    with pool_of(image) as files:
        names = {entry.name for entry in files.list(files.find("/new"))}
        assert names == {b"%d" % n for n in range(1, 700, 2)} | {b"link", b"folder"}
        assert (files / "new/699").read_bytes() == b"z" * (699 * 37)
        assert not (files / "tree/text-1500000").exists()
        assert (files / "tree/noise-1500000").read_bytes() == (top / "tree/noise-1500000").read_bytes()
        assert files.find("/new/link", follow=False).kind is Kind.SYMLINK


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize("compression", ["lz4", "gzip-1", None])
def test_a_guest_boots_from_it_reads_all_and_writes(
    kernel: Kernel, source: Path, tmp_path: Path, compression: str | None
) -> None:
    output = tmp_path / "x.img"
    image = build(source, "/walk 700", fs="zfs", kernel=kernel, output=output, compression=compression)
    boots_reads_and_writes(image, source, tmp_path, verbose=True)


@pytest.mark.qemu
@pytest.mark.slow
def test_a_real_osv_boots_from_what_the_lab_kernel_has_written_to(source: Path, tmp_path: Path) -> None:
    if not OSV:
        pytest.skip("OSVLAB_OSV_ZFS_KERNEL names no OSv kernel with ZFS")
    image = build(source, "/walk 200", fs="zfs", kernel=Kernel.lab(), output=tmp_path / "x.img")
    with run(image, memory="64M", persist=True, timeout=100) as vm:
        assert vm.wait() == Exited(0), vm.console.text
    with run(image, "/walk 0", kernel=OSV, memory="512M", persist=True, timeout=100) as vm:
        vm.wait_for("walked: ", 90)
        vm.wait(100)
    judge(image, tmp_path)


@pytest.mark.qemu
def test_the_lab_kernel_boots_from_the_dataset_zfs(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kernel, "zfs_root", "osv/zfs")
    image = build(app, fs="zfs", output=tmp_path / "x.img")
    with run(image, timeout=60) as vm:
        assert vm.wait() == Exited(0), vm.console.text
    assert "[zfs] osv/zfs holds the files" in vm.console.text


@pytest.mark.qemu
def test_an_image_that_a_guest_writes_to_is_not_replaced(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    shutil.copy(static_busybox(), tree / "busybox")
    output = tmp_path / "image.img"
    image = build(tree, "/busybox sleep 100", fs="zfs", output=output)
    with run(image, persist=True, timeout=60) as vm:
        vm.wait_for("Cmdline")
        with pytest.raises(ImageInUseError, match=f"running guest .* \\(process {vm.pid}\\)"):
            build(tree, "/busybox true", fs="zfs", output=output)
        vm.stop()
    assert build(tree, "/busybox true", fs="zfs", output=output).command == "/busybox true"


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize("by", ["host", "lab", "osv"])
def test_the_lab_kernel_boots_from_what_any_has_filled(source: Path, tmp_path: Path, by: str) -> None:
    image = build(source, "/walk 700", fs="zfs", output=tmp_path / "x.img", **filled(by))
    boots_reads_and_writes(image, source, tmp_path)


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize("by", ["lab", "osv"])
def test_osv_boots_from_what_a_vm_has_filled(osv: Kernel, source: Path, tmp_path: Path, by: str) -> None:
    image = build(source, "/walk 700", fs="zfs", kernel=osv, output=tmp_path / "x.img", **filled(by))
    boots_reads_and_writes(image, source, tmp_path, verbose=True)


def filled(by: str) -> dict[str, Any]:
    """Options of `build`, by who fills the disk: the host, or a VM of the lab kernel or of OSv."""
    if by == "host":
        return {}
    if by == "osv" and not BUILDER:
        pytest.skip("OSVLAB_OSV_ZFS_BUILDER names no builder of OSv")
    return {"via": "vm", "builder": BUILDER if by == "osv" else Kernel.lab().path}
