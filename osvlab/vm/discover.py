"""Running guests of this user, whichever Python started them.

Each VM leaves word of its ports in its private folder (`record`); who looks for guests
reads these. A guest is known by a short name, the end of its folder's name.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.guest.address import Address, Guest
from osvlab.paths import replacing
from osvlab.vm.folder import folders
from osvlab.vm.network import NetworkError

__all__ = [
    "ImageInUseError",
    "NoGuestError",
    "RunningGuest",
    "find",
    "record",
    "refuse_use",
    "running_guests",
]

RECORD = "ports.json"


class NoGuestError(OsvlabError, LookupError):
    """There is no such running guest, or more than one."""


class ImageInUseError(OsvlabError):
    """An image is a disk of a guest that runs."""


@dataclass(frozen=True, slots=True)
class RunningGuest:
    """A guest that runs.

    Attributes
    ----------
    name
        Eight hexadecimal digits.
    pid
        QEMU's process.
    machine
        The machine, in words.
    ports
        Where this host reaches the guest's TCP ports, ``HOST:PORT`` by port.
    disks
        Files of its disks, and whether it writes to them.
    """

    name: str
    pid: int
    machine: str
    ports: Mapping[int, str]
    disks: Mapping[str, bool] = field(default_factory=dict)

    def address(self, port: int) -> Address:
        """Return where a port of the guest is reached.

        Raises
        ------
        NetworkError
            It is not forwarded.
        """
        if port not in self.ports:
            known = ", ".join(map(str, self.ports)) or "none"
            raise NetworkError(
                f"port {port} of the guest {self.name} is not forwarded; forwarded: {known}",
                hint=f"Start it with --port {port}.",
            )
        return Address.parse(self.ports[port])


def record(
    folder: Path, pid: int, machine: str, ports: Mapping[int, str], disks: Mapping[str, bool] | None = None
) -> None:
    """Leave word of a VM in its folder."""
    told = {"pid": pid, "machine": machine, "ports": dict(ports), "disks": dict(disks or {})}
    with replacing(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(told))


def running_guests() -> list[RunningGuest]:
    """Return the guests of this user that run, by name."""
    found = (guest for folder in folders() if (guest := _read(folder)) is not None)
    return sorted(found, key=lambda guest: guest.name)


def _read(folder: Path) -> RunningGuest | None:
    # A folder may go at any moment, and what is left of one that was killed is nobody's.
    with contextlib.suppress(FileNotFoundError):
        if not _is_held(folder):
            return None
        known = json.loads((folder / RECORD).read_text())
        ports = {int(port): str(address) for port, address in known["ports"].items()}
        name = folder.name.removeprefix("vm-")
        return RunningGuest(name, known["pid"], known["machine"], ports, known.get("disks", {}))
    return None


def _is_held(folder: Path) -> bool:
    lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def refuse_use(image: str | os.PathLike[str], *, writers_only: bool = False) -> None:
    """Raise if a running guest of this user has an image for a disk.

    Parameters
    ----------
    image
        The image, which need not be there.
    writers_only
        Whether a guest that only reads it does not matter: a file that is replaced as a whole
        stays what it was for who has it open.

    Raises
    ------
    ImageInUseError
        One has. It is named.
    """
    try:
        found = os.stat(image)
    except OSError:
        return  # what is not there is in nobody's use; what cannot be opened is told by who opens it
    for guest in running_guests():
        for disk, writes in guest.disks.items():
            if (writes or not writers_only) and _is_same(disk, found):
                raise ImageInUseError(
                    f"{os.fspath(image)} is a disk of the running guest {guest.name} (process {guest.pid})",
                    hint=f"Let it end first: vm.stop(), or kill {guest.pid}.",
                )


def _is_same(path: str, found: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.stat(path), found)
    return False


def find(word: str | None = None) -> Guest:
    """Return the guest that a person means.

    Parameters
    ----------
    word
        ``HOST:PORT`` of the service itself, the beginning of a guest's name, QEMU's
        process id, or None for the only guest that runs.

    Raises
    ------
    NoGuestError
        There is none, or more than one.
    """
    if word and ":" in word:
        return Address.parse(word)
    guests = running_guests()
    meant = [guest for guest in guests if not word or guest.name.startswith(word) or str(guest.pid) == word]
    if len(meant) == 1:
        return meant[0]
    listed = "".join(f"\n  {guest.name}  process {guest.pid}: {guest.machine}" for guest in meant or guests)
    if not meant:
        what = f"no guest {word} runs" if word else "no guest runs"
        raise NoGuestError(
            f"{what}{'; there are:' if guests else ''}{listed}", hint="Start one: osvlab run."
        )
    raise NoGuestError(f"more than one guest is meant:{listed}", hint="Give the name of one.")
