"""Kernels in whatever they are wrapped: made here, and OSv's own where the environment names them."""

from __future__ import annotations

import contextlib
import io
import os
import random
import resource
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import ByteRange, DamagedError
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.osv_kernel import KernelFile, KernelForm, kernel_form
from osvlab.filesystems.osv_kernel.packed import PackedKernel
from osvlab.filesystems.tree import Content, Directory, Symlink
from tests.filesystems.packing import elf, loader, lzloader, pack, vmlinuz

OSV_KERNEL = os.environ.get("OSVLAB_OSV_KERNEL")
OSV_LOADER = os.environ.get("OSVLAB_OSV_LOADER")


def bootfs() -> bytes:
    tree = Directory()
    tree.add(b"/usr/lib/fs/libsolaris.so", Content(b"\x7fELF of a library" * 50))
    tree.add(b"/libz.so", Symlink(b"usr/lib/libz.so.1"))
    stream = io.BytesIO()
    write_bootfs(tree, stream)
    return stream.getvalue()


def kernel(size: int = 2_500_000) -> bytes:
    """Return a kernel with parts that repeat, parts that do not, and files in the middle."""
    chance = random.Random(7)
    parts = [chance.randbytes(1000), b"text " * 3000, bytes(5000)]
    noise = b"".join(parts * (size // 42_000) + [chance.randbytes(1_100_000)])
    return elf(noise[: size // 2 + 1] + bootfs() + noise[size // 2 + 1 :])


@pytest.mark.parametrize("size", [1, 3000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_packed_kernel_comes_back_whatever_its_size(size: int) -> None:
    chance = random.Random(size)
    whole = (chance.randbytes(700) * 3000)[:size]
    assert b"".join(KernelFile(lzloader(whole)).packed.pieces()) == whole  # type: ignore[union-attr]


def test_a_loader_is_unpacked_to_the_byte(tmp_path: Path) -> None:
    whole = kernel()
    file = KernelFile(loader(whole, "--rootfs=rofs /hello"))
    assert (file.form, file.command_line) == (KernelForm.LOADER, "--rootfs=rofs /hello")
    assert file.write_elf(tmp_path / "kernel.elf") == len(whole)
    assert (tmp_path / "kernel.elf").read_bytes() == whole
    assert os.access(tmp_path / "kernel.elf", os.R_OK)
    assert file.check().ok
    segments = file.packed.segments  # type: ignore[union-attr]
    assert any(s.stored == s.length for s in segments)
    assert any(s.stored < s.length for s in segments)


@pytest.mark.parametrize(
    ("wrap", "form"),
    [
        (lambda whole: whole, KernelForm.ELF),
        (lzloader, KernelForm.LZLOADER),
        (vmlinuz, KernelForm.VMLINUZ),
        (lambda whole: loader(whole, ""), KernelForm.LOADER),
    ],
)
def test_every_form_leads_to_the_same_kernel_and_files(wrap: object, form: str, tmp_path: Path) -> None:
    whole = kernel(90_000)
    (tmp_path / "file").write_bytes(wrap(whole))  # type: ignore[operator]
    file = KernelFile(tmp_path / "file")
    assert file.form is form
    file.write_elf(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == whole
    files = file.bootfs()
    assert files is not None
    assert (files / "usr/lib/fs/libsolaris.so").read_bytes() == b"\x7fELF of a library" * 50
    assert (files / "libz.so").readlink() == "usr/lib/libz.so.1"
    structures = [found for _, found in file.explain().walk(depth=4)]
    assert {"ELF header", "program header 0", "bootfs"} <= {found.name for found in structures}
    assert all(str(found) for found in structures)
    assert file.check().ok, file.check()


def test_a_kernel_that_is_cut_off_is_not_written(tmp_path: Path) -> None:
    whole = elf(os.urandom(200_000))
    file = KernelFile(whole[:150_000])
    (problem,) = file.check().problems
    assert "program header 0 at byte 0x40 loads bytes up to " in problem.message
    assert problem.message.endswith("and there are 0x249f0: the kernel is cut off")
    with pytest.raises(DamagedError, match="the kernel is cut off"):
        file.write_elf(tmp_path / "kernel.elf")
    assert not list(tmp_path.iterdir())
    assert KernelFile(whole).check().ok


def test_a_full_disk_leaves_no_kernel(tmp_path: Path) -> None:
    file = KernelFile(loader(elf(os.urandom(200_000)), "/x"))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(OsvlabError, match=r"cannot write .*kernel\.elf: File too large"):
            file.write_elf(tmp_path / "kernel.elf")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(tmp_path.iterdir())


def test_a_kernel_without_files_has_no_bootfs() -> None:
    assert KernelFile(elf(random.Random(3).randbytes(100_000))).bootfs() is None
    assert KernelFile(elf(bytes(100_000))).bootfs() is None


def test_what_is_no_kernel_is_none() -> None:
    assert kernel_form(ByteRange(b"")) is None
    assert kernel_form(ByteRange(bytes(510) + b"\x55\xaa" + bytes(70_000))) is None
    with pytest.raises(DamagedError, match=r"is no ELF file"):
        KernelFile(b"hello")
    with pytest.raises(DamagedError, match=r"no table of segments leads to one"):
        KernelFile(lzloader(b"")[:5000]).packed  # noqa: B018


@pytest.mark.parametrize("length", [16, 63])
def test_an_elf_header_that_is_cut_off_is_named(length: int) -> None:
    file = KernelFile((b"\x7fELF\2\1\1" + bytes(64))[:length])
    assert "ELF header at byte 0x0 is cut off" in file.check().problems[0].message
    with pytest.raises(DamagedError, match="ELF header at byte 0x0 is cut off"):
        file.explain().pointers  # noqa: B018


def test_damage_in_a_segment_is_named_and_hides_no_other(tmp_path: Path) -> None:
    whole = kernel()
    image = bytearray(loader(whole, ""))
    _, second, *_ = KernelFile(bytes(image)).packed.segments  # type: ignore[union-attr]
    at = 0x10000 + second.position
    image[at] = 0xE0  # no level has that number
    file = KernelFile(bytes(image))
    (problem,) = file.check().problems
    assert problem.message == f"damaged kernel: segment 1 at byte {at:#x} has the unknown level 8"
    with pytest.raises(DamagedError, match="segment 1"):
        file.write_elf(tmp_path / "kernel.elf")
    assert list(tmp_path.iterdir()) == []
    assert file.packed.unpack(0) == whole[: 1 << 20]  # type: ignore[union-attr]
    image = image[: 0x10000 + second.position + 100]
    with pytest.raises(DamagedError):
        KernelFile(bytes(image)).elf  # noqa: B018


@pytest.mark.parametrize("length", range(8))
def test_what_is_too_short_for_a_table_has_none(length: int) -> None:
    """A boot sector that loads nothing leaves no bytes to look through."""
    with pytest.raises(DamagedError, match="no table of segments leads to one"):
        PackedKernel(ByteRange(bytes(length)))
    image = bytearray(loader(kernel(50_000), ""))
    image[0x10:0x12] = bytes(2)
    (problem,) = KernelFile(bytes(image)).check().problems
    assert "no table of segments" in problem.message


def test_a_table_that_promises_too_much_is_none() -> None:
    table = struct.pack("<iii", 1, 1 << 30, 4)
    with pytest.raises(DamagedError, match=r"4 bytes for 1073741824 bytes of kernel"):
        KernelFile(b"\x7fELF\x01\x01".ljust(100, b"\1") + struct.pack("<i", 8) + b"data" + table).packed  # noqa: B018


@given(st.data())
@settings(deadline=5000, max_examples=40)
def test_random_damage_is_an_error_or_harmless(data: st.DataObject) -> None:
    whole = kernel(50_000)[:60_000]
    image = bytearray(loader(whole, "--verbose /x"))
    packed = 0x10000 + image[0x10000:].index(pack(whole)[:64])
    places = st.one_of(st.integers(0, 511), st.integers(packed, len(image) - 1))
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(places)] = data.draw(st.integers(0, 255))
    with contextlib.suppress(OsvlabError):
        file = KernelFile(bytes(image[: data.draw(st.integers(0, len(image)))]))
        file.check()
        for _, found in file.explain().walk(depth=4):
            str(found)


@pytest.mark.skipif(not (OSV_LOADER and OSV_KERNEL), reason="OSVLAB_OSV_LOADER and _KERNEL name no OSv")
def test_osvs_own_loader_unpacks_to_osvs_own_kernel(tmp_path: Path) -> None:
    assert OSV_LOADER is not None
    assert OSV_KERNEL is not None
    file = KernelFile(OSV_LOADER)
    assert file.form is KernelForm.LOADER
    assert file.check().ok, file.check()
    file.write_elf(tmp_path / "kernel.elf")
    assert (tmp_path / "kernel.elf").read_bytes() == Path(OSV_KERNEL).read_bytes()
