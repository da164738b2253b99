"""zfs-fuse, another hand that makes, reads, checks and changes pools.

Its daemon has one socket per machine. So it runs in a mount namespace of its own, where that folder is
private; the commands that speak with it enter that namespace, and its files are seen through
/proc/PID/root. Nothing of it is left when the tests end, however they end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

START = """
mount --make-rprivate / && mount -t tmpfs none /run && mkdir -p /run/lock/zfs /run/zfs || exit
[ ! -d /var/lib/zfs ] || mount -t tmpfs none /var/lib/zfs || exit
exec zfs-fuse --no-daemon --no-kstat-mount -p /run/zfs/pid
"""


def reason_to_skip() -> str | None:
    """Why zfs-fuse cannot run here; None when it can."""
    if shutil.which("zfs-fuse") is None:
        return "zfs-fuse is not installed"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be used"
    if os.geteuid() != 0:
        return "zfs-fuse needs root"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False
    )
    return None if tried.returncode == 0 else "namespaces cannot be made here"


class ZfsFuse:
    """A running zfs-fuse; `folder` is where its pools are mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command = ["setpriv", "--pdeathsig", "KILL", *unshare, "sh", "-c", START]
        with open(folder / "zfs-fuse.log", "wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._pid = 0
        deadline = time.monotonic() + 30
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("zfs-fuse does not start: " + (folder / "zfs-fuse.log").read_text())
            time.sleep(0.02)

    def _ready(self) -> bool:
        with suppress(OSError, IndexError):
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
            self._pid = int(children.split()[0])
            if not (self.root / "run/zfs/zfs_socket").exists():
                return False
            return self._run("zpool", "list").returncode == 0
        return False

    @property
    def root(self) -> Path:
        """The root directory as the daemon sees it, with its mounts."""
        return Path(f"/proc/{self._pid}/root")

    def _run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", f"--mount=/proc/{self._pid}/ns/mnt"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, check=False, timeout=120)

    def run(self, *command: str | Path, fails: bool = False) -> str:
        """Run a command beside the daemon (zpool, zfs, zdb, cp) and return what it printed."""
        ended = self._run(*command)
        assert (ended.returncode != 0) == fails, f"{command}: {ended.stdout}{ended.stderr}"
        return ended.stdout + ended.stderr

    def create(
        self, name: str, *images: Path, size: int = 64 << 20, options: tuple[str, ...] = (), kind: str = ""
    ) -> Path:
        """Create a pool of new image files and return where its files are; `kind` may be ``mirror``."""
        for image in images:
            with open(image, "wb") as file:
                file.truncate(size)
        mount = self.folder / f"mount-{name}"
        kinds = [kind] if kind else []
        self.run("zpool", "create", *options, "-m", mount, name, *kinds, *images)
        return self.root / mount.relative_to("/")

    def import_pool(self, name: str, folder: Path, *options: str) -> Path:
        """Import a pool from the image files of a folder and return where its files are.

        Its mount points are moved below a folder, so that one at ``/`` does no harm.
        """
        top = self.folder / f"import-{name}"
        top.mkdir(exist_ok=True)
        self.run("zpool", "import", *options, "-d", folder, "-R", top, name)
        return self.root / top.relative_to("/")

    def export(self, name: str) -> None:
        """Export a pool: everything is on its images then."""
        self.run("zpool", "export", name)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def inside(zfs_fuse: ZfsFuse, path: Path) -> str:
    """A path as the daemon's namespace has it."""
    return str(path).removeprefix(str(zfs_fuse.root))
