"""cpio's "new" ASCII format as it lies in an archive.

A record is a header of 110 ASCII characters, the name with its NUL, the data; header with name and
the data are each padded to a multiple of 4. Numbers are hexadecimal digits. The archive ends with
the name TRAILER!!!. A file with several names has a record for each, with the same inode number;
GNU cpio and Linux attach the data to one of them, and the others say 0 bytes.

Source of the format: cpio(5) of libarchive; Linux, `Documentation/driver-api/early-userspace/
buffer-format.rst`, which also allows archives one after the other.
"""

from __future__ import annotations

from osvlab.filesystems.declarations import declare

C_CPIO = declare("""
struct cpio_header {
    char    magic[6];           /* 070701; 070702 when check is a sum of the data */
    char    ino[8];             /* the same for all names of one file */
    char    mode[8];            /* type and permissions, as st_mode */
    char    uid[8];             /* owner */
    char    gid[8];             /* group */
    char    nlink[8];           /* names of the file, also outside of the archive */
    char    mtime[8];           /* last change, seconds since 1970 */
    char    filesize[8];        /* bytes of data */
    char    devmajor[8];        /* device that the file was on */
    char    devminor[8];        /* and its minor number */
    char    rdevmajor[8];       /* device that a special file stands for */
    char    rdevminor[8];       /* and its minor number */
    char    namesize[8];        /* bytes of the name, with its NUL */
    char    check[8];           /* sum of the data's bytes, or 0 */
};
""")

HEADER = 110
MAGIC = b"070701"
MAGIC_SUMMED = b"070702"
TRAILER = b"TRAILER!!!"
LARGEST = 0xFFFFFFFF
"""A size is written in eight hexadecimal digits."""


def padded(size: int) -> int:
    """Return the multiple of 4 at or above a size."""
    return -(-size // 4) * 4
