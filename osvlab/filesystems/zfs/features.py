"""Features of pools of version 5000: which of them are read here.

A feature that readers need not know (`features_for_write`) is never in the way. One that they must
know is, when it is active and not in the list below.

Source of the names: OpenZFS, module/zcommon/zfeature_common.c.
"""

from __future__ import annotations

from collections.abc import Iterable

from osvlab.filesystems.zfs.errors import UnsupportedPoolError

__all__ = ["READ_HERE", "check_features", "check_version"]

READ_HERE = frozenset(
    {
        "com.delphix:bookmark_v2",
        "com.datto:bookmark_v2",
        "com.delphix:bookmark_written",
        "com.delphix:embedded_data",
        "com.delphix:extensible_dataset",
        "com.delphix:head_errlog",
        "com.delphix:hole_birth",
        "com.delphix:redaction_bookmarks",
        "com.joyent:multi_vdev_crash_dump",
        "com.klarasystems:large_microzap",
        "com.klarasystems:vdev_zaps_v2",
        "org.freebsd:zstd_compress",
        "org.illumos:lz4_compress",
        "org.illumos:sha512",
        "org.open-zfs:large_blocks",
        "org.zfsonlinux:large_dnode",
    }
)
VERSIONS = (*range(1, 29), 5000)


def check_version(version: int) -> None:
    """Raise unless pools of a version are read here.

    Raises
    ------
    UnsupportedPoolError
        They are not.
    """
    if version not in VERSIONS:
        raise UnsupportedPoolError(
            f"the pool has version {version}; versions 1 to 28 and 5000 are read here",
            hint="Copy the files with the system that wrote it.",
        )


def check_features(active: Iterable[str]) -> None:
    """Raise unless all features are known that a reader must know.

    Parameters
    ----------
    active
        Those that are active.

    Raises
    ------
    UnsupportedPoolError
        Some are not known. It names them.

    Examples
    --------
    >>> check_features(["org.illumos:lz4_compress"])
    >>> check_features(["com.datto:encryption"])
    Traceback (most recent call last):
    ...
    osvlab.filesystems.zfs.errors.UnsupportedPoolError: the pool uses com.datto:encryption, not read here
    hint: Copy the files with the system that wrote it.
    """
    unknown = sorted(set(active) - READ_HERE)
    if unknown:
        raise UnsupportedPoolError(
            f"the pool uses {', '.join(unknown)}, not read here",
            hint="Copy the files with the system that wrote it.",
        )
