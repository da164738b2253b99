"""Disks inside files of hypervisors: qcow2, vmdk, vdi. QEMU's own `qemu-img` unpacks them.

The disk is unpacked into a temporary file that has no name, so it goes with whoever has it open.

Such a file may say that its bytes are in other files of the host: a backing file, a data file, extents.
An image that somebody sent us must not make us read those, so it is refused, with the reason: first by
its header, before `qemu-img` sees it, and then by what `qemu-img info` says of it. The format is named
to `qemu-img`, which would otherwise guess it again.

Source of the formats: QEMU, `docs/interop/qcow2.txt`, `block/vmdk.c`, `block/vdi.c`; VMware, "Virtual
Disk Format 1.1".
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import ByteRange, show
from osvlab.filesystems.declarations import declare
from osvlab.paths import format_size

__all__ = ["Container", "ContainerError", "container_of", "convert", "measure", "unpacked"]

C_QCOW2 = declare(
    """
struct qcow2_header {
    char    magic[4];               /* QFI fb */
    uint32  version;                /* 2 or 3 */
    uint64  backing_file_offset;    /* where the name of a backing file is; 0: none */
    uint32  backing_file_size;      /* bytes of that name */
    uint32  cluster_bits;           /* clusters have 1 << this many bytes */
    uint64  size;                   /* bytes of the disk inside */
    uint32  crypt_method;           /* 0: none */
    uint32  l1_size;
    uint64  l1_table_offset;
    uint64  refcount_table_offset;
    uint32  refcount_table_clusters;
    uint32  nb_snapshots;
    uint64  snapshots_offset;
    uint64  incompatible_features;  /* from version 3 on; bit 2: the data is in another file */
};
""",
    endian=">",
)
C_VMDK = declare("""
struct vmdk_header {
    char    magic[4];               /* KDMV */
    uint32  version;
    uint32  flags;
    uint64  capacity;               /* of the disk inside, in sectors; 0: only a descriptor follows */
    uint64  grain_size;
    uint64  descriptor_offset;      /* in sectors */
    uint64  descriptor_size;        /* in sectors */
};
""")
C_VDI = declare("""
struct vdi_header {
    char    text[64];
    uint32  signature;              /* 0xbeda107f */
    uint32  version;
    uint32  header_size;
    uint32  image_type;             /* 1: grows, 2: fixed */
    uint8   unused[288];
    uint64  disk_size;              /* bytes of the disk inside */
    uint32  block_size;
    uint32  block_extra;
    uint32  blocks;
    uint32  blocks_allocated;
    char    uuid[16];
    char    uuid_last_snapshot[16];
    char    uuid_link[16];          /* of the disk that this one is a difference to */
    char    uuid_parent[16];
};
""")
EXTERNAL_DATA = 4
DESCRIPTOR_LONGEST = 64 * 1024
SECTOR = 512
WHOLE_VMDK = ("monolithicSparse", "streamOptimized")
FLATTEN = "Make one file of it where you trust it: qemu-img convert -O raw IMAGE IMAGE.img"


class Container(StrEnum):
    """A format in which a disk is kept; the names are QEMU's."""

    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VDI = "vdi"


class ContainerError(OsvlabError):
    """A disk cannot be unpacked, or should not be."""


def container_of(source: ByteRange) -> Container | None:
    r"""Say what a disk is kept in, by its magic number; None when it is no such thing.

    Examples
    --------
    >>> container_of(ByteRange(b"QFI\xfb" + bytes(100)))
    <Container.QCOW2: 'qcow2'>
    """
    head = source.read_at(0, 72)
    if head.startswith(b"QFI\xfb"):
        return Container.QCOW2
    if head.startswith((b"KDMV", b"COWD", b"# Disk DescriptorFile")):
        return Container.VMDK
    if head[64:68] == (0xBEDA107F).to_bytes(4, "little"):
        return Container.VDI
    return None


def unpacked(source: ByteRange, name: str = "the image") -> ByteRange:
    """Return the disk in a container; the source itself where it is in none.

    Parameters
    ----------
    source
        The file.
    name
        What to call it in messages.

    Raises
    ------
    ContainerError
        The file leads to other files, is encrypted or damaged, there is no room for the disk,
        or ``qemu-img`` is missing.
    """
    if container_of(source) is None:
        return source
    needed = measure(source, name)
    with tempfile.TemporaryFile(prefix="osvlab-disk-") as file:
        with _named(name):
            _check_room(Path(tempfile.gettempdir()), needed)
        convert(source, file.fileno(), name)
        return ByteRange(f"/proc/self/fd/{file.fileno()}")


def measure(source: ByteRange, name: str = "the image") -> int:
    """Return how many bytes of data a container holds, about as many as unpacking it takes.

    Raises
    ------
    ContainerError
        As of `unpacked`.
    """
    with _named(name):
        format = _refuse_other_files(source)
        with _readable(source) as file:
            # Of a raw file, qemu-img counts the holes too.
            said = _qemu_img(source, "measure", "--output=json", "-O", "qcow2", "-f", format, file)
        return int(json.loads(said)["required"])


def convert(source: ByteRange, target: int, name: str = "the image") -> None:
    """Unpack the disk in a container into a file that is open for writing, and new.

    What was never written to the disk becomes a hole.

    Raises
    ------
    ContainerError
        As of `unpacked`.
    """
    with _named(name):
        format = _refuse_other_files(source)
        with _readable(source) as file:
            info = json.loads(_qemu_img(source, "info", "--output=json", "-f", format, file))
            _refuse_what_qemu_found(info, file)
            _make_room(target, int(info["virtual-size"]))
            words = ["-n", "--target-is-zero", "-f", format, "-O", "raw", file, f"/proc/self/fd/{target}"]
            _qemu_img(source, "convert", *words)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the file's name in front of whatever is wrong with it."""
    try:
        yield
    except ContainerError as error:
        raise ContainerError(f"{name}: {error.message}", hint=error.hint) from error


def _make_room(target: int, size: int) -> None:
    try:
        os.ftruncate(target, size)
    except OSError as error:
        raise ContainerError(
            f"the disk has {format_size(size)}, more than a file can have here: {error.strerror}",
            hint="Point TMPDIR to a folder on another filesystem.",
        ) from error


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        room = f"{format_size(needed)} needed, {format_size(free)} free"
        raise ContainerError(
            f"no room in {folder} to unpack the disk: {room}",
            hint="Point TMPDIR to a folder with more room.",
        )


# --- what must not be opened -------------------------------------------------------------------------------


def _refuse_other_files(source: ByteRange) -> Container:
    """Return the format of a container, unless its header says that there is more to it than this file."""
    format = container_of(source)
    match format:
        case Container.QCOW2:
            _refuse_qcow2(source)
        case Container.VMDK:
            _refuse_vmdk(source)
        case Container.VDI:
            _refuse_vdi(source)
        case None:
            raise ContainerError("this is no qcow2, vmdk or vdi file", hint="Open it as it is.")
    return format


def _refuse_qcow2(source: ByteRange) -> None:
    kind = C_QCOW2.types.qcow2_header
    header = kind(source.read_at(0, len(kind)).ljust(len(kind), b"\0"))
    if header.version not in (2, 3):
        raise ContainerError(
            f"this is QCOW version {header.version}, which the lab does not unpack", hint=FLATTEN
        )
    if header.backing_file_offset:
        name = source.read_at(int(header.backing_file_offset), min(int(header.backing_file_size), 1023))
        raise _leads_elsewhere("qcow2", f"a backing file, {show(name)!r}")
    if header.version == 3 and header.incompatible_features & EXTERNAL_DATA:
        raise _leads_elsewhere("qcow2", "a data file of its own")
    if header.crypt_method:
        raise _encrypted("qcow2")


def _refuse_vmdk(source: ByteRange) -> None:
    kind = C_VMDK.types.vmdk_header
    head = source.read_at(0, len(kind))
    if head.startswith(b"#"):
        raise _leads_elsewhere("vmdk", "other files: this one only describes the disk")
    if not head.startswith(b"KDMV") or len(head) < len(kind):
        raise ContainerError("this vmdk file is of a kind that the lab does not unpack", hint=FLATTEN)
    header = kind(head)
    if not header.capacity:
        raise _leads_elsewhere("vmdk", "what a descriptor in it says")
    length = min(int(header.descriptor_size) * SECTOR, DESCRIPTOR_LONGEST)
    text = source.read_at(int(header.descriptor_offset) * SECTOR, length).partition(b"\0")[0]
    parents = re.findall(rb"(?i)parentCID\s*=\s*(\w*)", text)
    if any(parent.lower() != b"ffffffff" for parent in parents) or b"parentfilenamehint" in text.lower():
        raise _leads_elsewhere("vmdk", "a parent, to which it is a difference")


def _refuse_vdi(source: ByteRange) -> None:
    kind = C_VDI.types.vdi_header
    header = kind(source.read_at(0, len(kind)).ljust(len(kind), b"\0"))
    if header.image_type not in (1, 2) or any(header.uuid_link) or any(header.uuid_parent):
        raise _leads_elsewhere("vdi", "another disk, to which it is a difference")


def _refuse_what_qemu_found(info: dict[str, Any], name: str) -> None:
    """Refuse by what `qemu-img info` says, should it read a header otherwise than we do."""
    format = info["format"]
    details = info.get("format-specific", {}).get("data", {})
    for key in ("backing-filename", "full-backing-filename"):
        if key in info:
            raise _leads_elsewhere(format, f"a backing file, {info[key]!r}")
    if "data-file" in details:
        raise _leads_elsewhere(format, f"a data file, {details['data-file']!r}")
    if info.get("encrypted") or "encrypt" in details:
        raise _encrypted(format)
    extents = [extent.get("filename") for extent in details.get("extents", [])]
    if format == Container.VMDK and (extents != [name] or details.get("create-type") not in WHOLE_VMDK):
        raise _leads_elsewhere("vmdk", "other files")


def _leads_elsewhere(format: str, where: str) -> ContainerError:
    return ContainerError(
        f"this {format} file leads to {where}; the lab opens no other files of this host for an image",
        hint=FLATTEN,
    )


def _encrypted(format: str) -> ContainerError:
    return ContainerError(f"this {format} file is encrypted, and the lab asks for no keys", hint=FLATTEN)


# --- running qemu-img --------------------------------------------------------------------------------------


@contextmanager
def _readable(source: ByteRange) -> Iterator[str]:
    """Give a source a name for another program: that of its descriptor, whatever its file is called now."""
    if source.offset:
        raise ContainerError(
            f"a disk in a container cannot be inside another disk (at byte {source.offset:#x})",
            hint="Copy it out, and open the copy.",
        )
    if source.stat() is not None:
        yield f"/proc/self/fd/{source.fileno()}"
        return
    with tempfile.TemporaryFile(prefix="osvlab-image-") as file:
        for position in range(0, source.length, 1 << 20):
            file.write(source.read_at(position, 1 << 20))
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _qemu_img(source: ByteRange, *words: str) -> str:
    program = shutil.which("qemu-img")
    if program is None:
        raise ContainerError(
            f"this is a {container_of(source)} file, and no qemu-img is on the PATH to unpack it",
            hint="Install it: sudo apt-get install qemu-utils",
        )
    files = [int(word.rpartition("/")[2]) for word in words if word.startswith("/proc/self/fd/")]
    ended = subprocess.run(
        [program, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        pass_fds=files,
        env={"PATH": os.defpath, "LC_ALL": "C"},
        cwd="/",
        check=False,
    )
    if ended.returncode:
        said = (ended.stderr.strip() or "no reason given").splitlines()[-1]
        raise ContainerError(
            f"qemu-img cannot {words[0]} this {container_of(source)} file: {said}",
            hint="Copy it again from where it came; if a VM is using it, stop that first.",
        )
    return ended.stdout
