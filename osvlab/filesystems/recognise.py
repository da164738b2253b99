"""What some bytes are, by their magic numbers."""

from __future__ import annotations

from enum import StrEnum

from osvlab.errors import OsvlabError
from osvlab.filesystems import disk
from osvlab.filesystems.base import ByteRange
from osvlab.filesystems.bootfs import looks_like_bootfs
from osvlab.filesystems.osv_kernel import KernelForm, kernel_form
from osvlab.filesystems.rofs.format import MAGIC as ROFS_MAGIC

__all__ = ["Content", "UnknownContentError", "content_of", "refuse_unknown"]

LABEL = 256 * 1024
RING = 128 * 1024
UBERBLOCK = 1024
UBERBLOCK_MAGICS = frozenset({(0x00BAB10C).to_bytes(8, "little"), (0x00BAB10C).to_bytes(8, "big")})
CHECKSUM = 40  # at the end of a label's configuration, in front of the ring
CHECKSUM_MAGICS = frozenset(
    {(0x0210DA7AB10C7A11).to_bytes(8, "little"), (0x0210DA7AB10C7A11).to_bytes(8, "big")}
)


class Content(StrEnum):
    """What can be opened."""

    DISK = "disk"
    ROFS = "ROFS"
    BOOTFS = "bootfs"
    CPIO = "cpio"
    ZFS = "ZFS"
    KERNEL = "kernel"


class UnknownContentError(OsvlabError, ValueError):
    """A file is nothing that the lab reads."""


# What people have lying around, and what to do about it. Where, what, its name, the hint.
UNPACK = "Unpack it first: {}"
MBR_ONLY = "The lab reads disks with an MBR, as OSv makes them."
_OTHERS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x1f\x8b", "compressed with gzip", UNPACK.format("gunzip --keep FILE.gz")),
    (0, b"\xfd7zXZ", "compressed with xz", UNPACK.format("xz --decompress --keep FILE.xz")),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", UNPACK.format("zstd --decompress FILE.zst")),
    (0, b"BZh", "compressed with bzip2", UNPACK.format("bunzip2 --keep FILE.bz2")),
    (0, b"PK\x03\x04", "a zip archive", UNPACK.format("unzip FILE.zip")),
    (257, b"ustar", "a tar archive", UNPACK.format("tar -xf FILE.tar")),
    (0, b"hsqs", "a squashfs", "The lab reads ROFS, bootfs, ZFS and cpio; mount it, or use unsquashfs."),
    (0x438, b"\x53\xef", "an ext2, ext3 or ext4", "The lab reads ROFS, bootfs, ZFS and cpio; use debugfs."),
    (0x8001, b"CD001", "an ISO 9660 image", "The lab reads ROFS, bootfs, ZFS and cpio; use bsdtar or 7z."),
    (0, b"vhdxfile", "a VHDX disk", "Convert it: qemu-img convert -f vhdx -O raw FILE.vhdx FILE.img"),
    (0, b"conectix", "a VHD disk", "Convert it: qemu-img convert -f vpc -O raw FILE.vhd FILE.img"),
    (
        0,
        b"EFI PART",
        "the table of a disk with a GPT",
        MBR_ONLY,
    ),
    (512, b"EFI PART", "a disk with a GPT", MBR_ONLY),
)


def content_of(source: ByteRange) -> Content | None:
    """Say what something is, by its magic numbers; None when it is nothing known.

    A disk with a partition table comes before what its last partition ends with: the labels at the
    end of a ZFS vdev are the same when the vdev is the whole disk.

    Examples
    --------
    >>> content_of(ByteRange(b"070701" + bytes(200)))
    <Content.CPIO: 'cpio'>
    """
    head = source.read_at(0, disk.SECTOR)
    if head[:8] == ROFS_MAGIC.to_bytes(8, "little"):
        return Content.ROFS
    if head.startswith((b"070701", b"070702", b"070707", b"\xc7\x71", b"\x71\xc7")):
        return Content.CPIO
    form = kernel_form(source)
    if form in (KernelForm.ELF, KernelForm.LZLOADER, KernelForm.VMLINUZ):
        return Content.KERNEL
    if _is_disk(head, form):
        return Content.DISK
    if _has_label(source):
        return Content.ZFS
    if looks_like_bootfs(head, source.length):
        return Content.BOOTFS
    return None


def _is_disk(head: bytes, form: KernelForm | None) -> bool:
    """Whether there is a boot sector that leads anywhere: to partitions or to a kernel."""
    if len(head) < disk.SECTOR or head[-2:] != b"\x55\xaa":
        return False
    used = any(entry.type for entry in disk.c_disk.boot_sector(head).partitions)
    return used or form is not None


def _has_label(source: ByteRange) -> bool:
    """Whether one of a vdev's four labels has a configuration, or an uberblock in its ring.

    A spare has the first and not the second, a disk whose configuration was damaged the second.
    """
    end = source.length // LABEL * LABEL
    labels = {start for start in (0, LABEL, end - 2 * LABEL, end - LABEL) if start >= 0}
    for label in sorted(labels):
        if source.read_at(label + RING - CHECKSUM, 8) in CHECKSUM_MAGICS:
            return True
        ring = source.read_at(label + RING, LABEL - RING)
        if any(ring[slot : slot + 8] in UBERBLOCK_MAGICS for slot in range(0, len(ring), UBERBLOCK)):
            return True
    return False


def refuse_unknown(source: ByteRange, name: str) -> UnknownContentError:
    """Return the error for what cannot be opened: what it is instead, or what was looked for."""
    if not source.length:
        return UnknownContentError(f"{name} is empty", hint="Build it again, or copy it again.")
    for position, magic, what, hint in _OTHERS:
        if source.read_at(position, len(magic)) == magic:
            return UnknownContentError(f"{name} is {what}, not a filesystem that the lab reads", hint=hint)
    head = source.read_at(0, disk.SECTOR)
    zeros = " (it begins with zeros)" if head and not any(head) else ""
    return UnknownContentError(
        f"{name} is nothing that the lab reads{zeros}: no ROFS (magic deadbead), bootfs record, cpio header "
        "(070701), ZFS uberblock (00bab10c), boot sector (55 AA) that leads anywhere, kernel (ELF), qcow2, "
        "vmdk or vdi",
        hint="Check that it is the right file, and whole.",
    )
