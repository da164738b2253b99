"""What the REST API tells, as typed values.

The shapes are those of OSv's listings (modules/httpserver-api/api-doc/listings/*.json). A
member that a guest leaves out, as OSv does with unset ones, takes the field's default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Self

__all__ = [
    "BatchReply",
    "Counter",
    "FileKind",
    "FileStatus",
    "FilesystemUsage",
    "Interface",
    "InterfaceConfig",
    "Route",
    "Thread",
    "TraceEvent",
]

NEVER_RAN = 0xFFFFFFFF
"""What OSv says is the CPU of a thread that never ran."""


class _Model:
    """A dataclass that is made from JSON by the names of its fields."""

    _names: ClassVar[Mapping[str, str]] = {}  # where JSON calls a field something else
    _readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}  # where it writes a value otherwise

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Take what is known of an object; ignore the rest."""
        taken = {}
        for known in dataclasses.fields(cls):  # type: ignore[arg-type]
            name = cls._names.get(known.name, known.name)
            if name in value:
                read = cls._readers.get(known.name)
                taken[known.name] = value[name] if read is None else read(value[name])
        return cls(**taken)


@dataclass(frozen=True, slots=True)
class Thread(_Model):
    """A thread of the guest.

    Attributes
    ----------
    id, name
        Its number and its name (15 characters at most).
    status
        ``running``, ``queued``, ``waiting``...
    cpu
        The CPU it ran on last; None if it never ran.
    cpu_ms
        Milliseconds of CPU time it has used.
    switches, migrations, preemptions
        How often it was switched to, moved to another CPU, interrupted.
    priority
        As the kernel counts it; smaller is more in OSv.
    stack_size
        In bytes.
    """

    id: int
    name: str = ""
    status: str = "Unknown"
    cpu: int | None = None
    cpu_ms: int = 0
    switches: int = 0
    migrations: int = 0
    preemptions: int = 0
    priority: float = 0
    stack_size: int = 0

    _readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "cpu": lambda cpu: None if cpu == NEVER_RAN else cpu
    }


class FileKind(StrEnum):
    """What a name in the guest's file system stands for."""

    FILE = "FILE"
    DIRECTORY = "DIRECTORY"
    SYMLINK = "SYMLINK"


@dataclass(frozen=True, slots=True)
class FileStatus(_Model):
    """A file in the guest.

    Attributes
    ----------
    name
        Its name in its directory.
    kind
        File, directory or link.
    size
        In bytes.
    permission
        The permission bits, as an integer.
    owner, group
        As text, the way the guest gives them.
    accessed, modified
        Seconds since 1970.
    links
        How many names it has.
    target
        Where a link points to; empty for others.
    """

    _names: ClassVar[Mapping[str, str]] = {
        "name": "pathSuffix",
        "kind": "type",
        "size": "length",
        "accessed": "accessTime",
        "modified": "modificationTime",
        "links": "replication",
        "target": "symlink",
        "block_size": "blockSize",
    }
    _readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "kind": FileKind,
        "permission": lambda octal: int(str(octal), 8),
    }

    name: str = ""
    kind: FileKind = FileKind.FILE
    size: int = 0
    permission: int = 0
    owner: str = ""
    group: str = ""
    accessed: int = 0
    modified: int = 0
    links: int = 1
    target: str = ""
    block_size: int = 0


@dataclass(frozen=True, slots=True)
class FilesystemUsage(_Model):
    """How full a file system is: blocks of `blocksize` bytes, and files."""

    filesystem: str = ""
    mount: str = ""
    btotal: int = 0
    bfree: int = 0
    ftotal: int = 0
    ffree: int = 0
    blocksize: int = 512

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.btotal * self.blocksize

    @property
    def free(self) -> int:
        """Bytes that are free."""
        return self.bfree * self.blocksize


@dataclass(frozen=True, slots=True)
class InterfaceConfig(_Model):
    """How a network interface is set up."""

    name: str = ""
    addr: str = ""
    mask: str = ""
    broadcast: str = ""
    flags: str = ""
    mtu: str = ""
    phys_addr: str = ""


@dataclass(frozen=True, slots=True)
class Interface(_Model):
    """A network interface: how it is set up, and its counters by OSv's names (``ifi_ipackets``...)."""

    _readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"config": InterfaceConfig.from_json}

    config: InterfaceConfig = InterfaceConfig()
    data: Mapping[str, Any] = field(default_factory=dict)
    time: int = 0


@dataclass(frozen=True, slots=True)
class Route(_Model):
    """A line of the routing table."""

    _readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"flags": str.strip}  # OSv pads them

    destination: str = ""
    gateway: str = ""
    flags: str = ""
    netif: str = ""
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class TraceEvent(_Model):
    """A tracepoint, and whether it is on."""

    id: str = ""
    name: str = ""
    enabled: bool = False
    backtrace: bool = False


@dataclass(frozen=True, slots=True)
class Counter(_Model):
    """How often a counted tracepoint was passed."""

    name: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class BatchReply:
    """One answer of a batch: the HTTP status, and the value."""

    status: int
    value: Any
