"""`osvlab unpack`: get a kernel out of what it is wrapped in."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from osvlab.errors import OsvlabError

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Declare `unpack`."""
    parser = commands.add_parser(
        "unpack",
        help="get the kernel out of an image, a loader.img or a vmlinuz.bin",
        usage="osvlab unpack IMAGE -o KERNEL.elf",
        description="Write the ELF file of the kernel that an image boots, unpacked. QEMU loads it with "
        "-kernel, and so does osvlab run --kernel.",
    )
    parser.set_defaults(do=do)
    parser.add_argument("image", metavar="IMAGE", help="a disk, a loader.img, lzloader.elf or vmlinuz.bin")
    parser.add_argument("-o", "--output", metavar="KERNEL.elf", required=True, help="the file to write")


def do(options: argparse.Namespace) -> int:
    """Unpack it and say what it was in."""
    from osvlab.filesystems.opening import volume_of
    from osvlab.filesystems.osv_kernel import KernelFile
    from osvlab.paths import format_size
    from osvlab.vm.discover import refuse_use

    kernel = KernelFile(volume_of(options.image).source)
    if os.path.exists(options.output) and os.path.samefile(options.image, options.output):
        raise OsvlabError(f"{options.output} is the image itself", hint="Write the kernel to another file.")
    refuse_use(options.output, writers_only=True)
    size = kernel.write_elf(options.output)
    packed = ", compressed" if kernel.is_packed else ""
    print(f"{options.output}: {format_size(size)}, out of a {kernel.form}{packed}")
    return 0
