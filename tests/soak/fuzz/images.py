"""Readers of images, by what the image is and by their own names; each reads all that it finds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import ByteRange, Filesystem, Kind
from osvlab.filesystems.bootfs import BootfsReader
from osvlab.filesystems.containers import container_of
from osvlab.filesystems.cpio import CpioReader
from osvlab.filesystems.opening import open as open_image
from osvlab.filesystems.osv_kernel import KernelFile
from osvlab.filesystems.overview import check, explain
from osvlab.filesystems.rofs import RofsReader
from tests.soak.reading import everything, look_at


def lies_where_it_says(reader: Filesystem, data: bytes) -> None:
    """Compare files with the bytes of the image: these formats store them as they are."""
    for entry in reader.walk():
        if entry.kind is Kind.FILE:
            with suppress(OsvlabError):
                content = reader.read(entry)
                assert len(content) == entry.size
                for extent in reader.extents(entry):
                    assert extent.offset is not None
                    stored = data[extent.offset : extent.offset + extent.length]
                    assert content[extent.start : extent.start + extent.length] == stored


def rofs(data: bytes) -> None:
    with suppress(OsvlabError), RofsReader(data) as reader:
        everything(reader)
        lies_where_it_says(reader, data)
        reader.validate()


def bootfs(data: bytes) -> None:
    with suppress(OsvlabError), BootfsReader(data) as reader:
        everything(reader)
        lies_where_it_says(reader, data)


def cpio(data: bytes) -> None:
    with suppress(OsvlabError), CpioReader(data) as reader:
        everything(reader)
        lies_where_it_says(reader, data)


def osv_kernel(data: bytes) -> None:
    with suppress(OsvlabError):
        file = KernelFile(data)
        assert str(file.check())
        look_at(file.explain())
        assert file.elf.length >= 0
        files = file.bootfs()
        if files is not None:
            everything(files)


def disks(data: bytes) -> None:
    """Anything by its magic numbers, but for what qemu-img would be asked about."""
    with suppress(OsvlabError):
        if container_of(ByteRange(data)) is not None:
            return
        for report in check(data):
            assert str(report)
        look_at(explain(data))
        with open_image(data) as files:
            everything(files)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (rofs, bootfs, cpio, osv_kernel, disks)
}
