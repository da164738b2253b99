"""A file that holds a kernel, whatever it is wrapped in: its command line, its ELF file, its bootfs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property

from osvlab.errors import OsvlabError
from osvlab.filesystems import disk
from osvlab.filesystems.base import ByteRange, CheckReport, DamagedError, Source
from osvlab.filesystems.bootfs import BootfsReader
from osvlab.filesystems.declarations import declare
from osvlab.filesystems.findings import Findings
from osvlab.filesystems.osv_kernel.elf import end_of_elf, find_bootfs, is_elf, kernel_elf, require_whole
from osvlab.filesystems.osv_kernel.packed import PackedKernel
from osvlab.filesystems.structure import Pointer, Structure
from osvlab.paths import replacing

__all__ = ["KernelFile", "KernelForm", "kernel_form"]

LINUX_MAGIC = 0x202
LINUX_ENDS = 64 * 1024

C_BOOT = declare("""
struct linux_boot_header {
    uint8   setup_sects;        /* sectors of setup code, less one */
    uint16  root_flags;
    uint32  syssize;            /* size of the protected-mode code, in 16 bytes */
    uint16  ram_size;
    uint16  vid_mode;
    uint16  root_dev;
    uint16  boot_flag;          /* 0xaa55 */
    uint16  jump;
    char    header[4];          /* HdrS */
    uint16  version;            /* of the boot protocol */
};
""")


class KernelForm(StrEnum):
    """What a kernel is wrapped in."""

    ELF = "kernel ELF"
    LZLOADER = "lzloader.elf"
    LOADER = "loader.img"
    VMLINUZ = "vmlinuz.bin"
    DISK = "disk with a kernel"


def kernel_form(source: ByteRange) -> KernelForm | None:
    """Say which form of a kernel something begins with, by its magic numbers; None for none.

    Examples
    --------
    >>> kernel_form(ByteRange(b"hello"))
    """
    head = source.read_at(0, disk.SECTOR + 0x10)
    if is_elf(head):
        return KernelForm.ELF
    if is_elf(head, 32):
        return KernelForm.LZLOADER
    if head[LINUX_MAGIC : LINUX_MAGIC + 4] == b"HdrS" and _elf_behind_boot_header(source) is not None:
        return KernelForm.VMLINUZ
    if head[disk.SECTOR - 2 : disk.SECTOR] == b"\x55\xaa":
        inner = source.read_at(disk.KERNEL, 6)
        if is_elf(inner, 32):
            return KernelForm.LOADER
        if is_elf(inner):
            return KernelForm.DISK
    return None


def _elf_behind_boot_header(source: ByteRange) -> int | None:
    for position in range(2 * disk.SECTOR, LINUX_ENDS, disk.SECTOR):
        if is_elf(source.read_at(position, 6)):
            return position
    return None


class KernelFile:
    """A file that holds a kernel.

    Parameters
    ----------
    source
        Bytes, a path, or an open range.

    Raises
    ------
    DamagedError
        It holds none, or what leads to it cannot be right.

    Examples
    --------
    >>> kernel = KernelFile("loader.img")  # doctest: +SKIP
    >>> kernel.form, kernel.command_line  # doctest: +SKIP
    (<KernelForm.LOADER: 'loader.img'>, '--rootfs=rofs /hello')
    >>> kernel.write_elf("loader-stripped.elf")  # doctest: +SKIP
    """

    format = "kernel"

    def __init__(self, source: Source) -> None:
        self._source = ByteRange(source)
        form = kernel_form(self._source)
        if form is None:
            problem = "is no ELF file, and neither a boot sector nor a boot header leads to one"
            raise DamagedError("kernel", "file", self._source.offset, problem)
        self.form = form
        self.offset = 0
        if form in (KernelForm.LOADER, KernelForm.DISK):
            self.offset = disk.KERNEL
        elif form is KernelForm.VMLINUZ:
            self.offset = _elf_behind_boot_header(self._source) or 0

    @cached_property
    def _wrapped(self) -> ByteRange:
        """What follows the boot sector or boot header: no more than a boot sector would load."""
        length = None
        if self.form in (KernelForm.LOADER, KernelForm.DISK):
            length = disk.read_boot_sector(self._source).kernel_chunks * disk.CHUNK
        return ByteRange(self._source, self.offset, length)

    @cached_property
    def packed(self) -> PackedKernel | None:
        """The compressed kernel; None when it is not compressed.

        Raises
        ------
        DamagedError
            It is not there, or its table cannot be right.
        """
        return PackedKernel(self._wrapped) if self.is_packed else None

    @property
    def is_packed(self) -> bool:
        """Whether the kernel is compressed."""
        return self.form in (KernelForm.LOADER, KernelForm.LZLOADER)

    @property
    def command_line(self) -> str | None:
        """What the kernel is told when it boots from this disk; None where there is no room for that."""
        if self.form in (KernelForm.LOADER, KernelForm.DISK):
            return disk.read_command_line(self._source)
        return None

    @cached_property
    def elf(self) -> ByteRange:
        """The kernel's ELF file, unpacked into memory where it is compressed.

        Raises
        ------
        DamagedError
            A compressed segment cannot be right.
        """
        if self.packed is None:
            return self._wrapped
        return ByteRange(b"".join(self.packed.pieces()))

    def write_elf(self, path: str | os.PathLike[str]) -> int:
        """Write the kernel's ELF file, whole or not at all, and return its size in bytes.

        Raises
        ------
        DamagedError
            The kernel cannot be unpacked, or is cut off.
        OsvlabError
            The file cannot be written.
        """
        if self.packed is None:
            require_whole(self._wrapped)
        pieces = self.packed.pieces() if self.packed is not None else self._plain_pieces()
        size = 0
        try:
            with replacing(path) as temporary, open(temporary, "r+b") as file:
                for piece in pieces:
                    size += file.write(piece)
        except OSError as error:
            if isinstance(error, OsvlabError):
                raise
            raise OsvlabError(
                f"cannot write {os.fspath(path)}: {error.strerror}", hint="Make room, or write it elsewhere."
            ) from error
        return size

    def _plain_pieces(self) -> Iterator[bytes]:
        end = self._end_of_elf()
        for position in range(0, end, 1 << 20):
            yield self._wrapped.read_at(position, min(1 << 20, end - position))

    def _end_of_elf(self) -> int:
        """Return where an ELF file ends that zeros or a disk may follow."""
        if self.form in (KernelForm.ELF, KernelForm.VMLINUZ):
            return self._wrapped.length
        return min(self._wrapped.length, end_of_elf(self._wrapped))

    def bootfs(self) -> BootfsReader | None:
        """Return the files that are linked into the kernel; None if there are none.

        Raises
        ------
        DamagedError
            The kernel cannot be unpacked, or is damaged.
        """
        return find_bootfs(self.elf)

    def check(self) -> CheckReport:
        """Unpack everything and report whatever cannot be right; damage raises nothing."""
        found = Findings(self.format)
        with found.gathering():
            if self.packed is not None:
                for index in range(len(self.packed.segments)):
                    with found.gathering():
                        found.count("bytes", len(self.packed.unpack(index)))
                    found.count("segments")
        if not found.report().problems:
            with found.gathering():
                found.count("program headers", require_whole(self.elf))
        return found.report()

    def explain(self) -> Structure:
        """Return what is wrapped around the kernel, or its ELF header, with pointers inwards."""
        match self.form:
            case KernelForm.ELF:
                return kernel_elf(self.elf)
            case KernelForm.VMLINUZ:
                return self._boot_header()
        return self.explain_wrapped()

    def explain_wrapped(self) -> Structure:
        """Return what the boot sector loads: the compressed kernel, or the ELF header of a plain one."""
        if self.packed is None:
            return kernel_elf(self._wrapped)
        packed = self.packed.explain()
        packed_pointers = [*packed.pointers, Pointer("unpacked", lambda: self._unpacked())]
        return Structure(
            packed.name,
            packed.offset,
            packed.length,
            packed.raw,
            packed.fields,
            packed_pointers,
            about=packed.about,
        )

    def _unpacked(self) -> Structure:
        return kernel_elf(self.elf, within="the unpacked kernel")

    def _boot_header(self) -> Structure:
        return Structure.at(
            C_BOOT,
            "linux_boot_header",
            self._source,
            0x1F1,
            [Pointer("kernel", lambda: kernel_elf(self._wrapped))],
            name="boot header",
            about="What loaders of Linux kernels expect; OSv puts it in front of its kernel.",
        )
