"""Two guests on the same network, QEMU's user networking: the lab kernel, and Debian's with busybox."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import osvlab
from benchmarks import linux
from benchmarks.qemu import TIMEOUT
from osvlab.errors import OsvlabError
from osvlab.image.image import Image

__all__ = ["Online", "lab_guest", "linux_archive", "linux_guest", "linux_words"]

MEMORY = "256M"


@dataclass(frozen=True, slots=True)
class Online:
    """A guest that runs: its QEMU, and where the port that it listens on is reached (0: none)."""

    pid: int
    port: int = 0


@contextmanager
def lab_guest(
    image: Image, command: str | None = None, *, port: int = 0, line: str = ""
) -> Iterator[Online]:
    """Run a command on the lab kernel; with a `line`, wait until it has printed that."""
    ports = [port] if port else []
    with osvlab.run(image, command, memory=MEMORY, timeout=TIMEOUT, ports=ports, network=True) as vm:
        if line:
            vm.wait_for(line)
        yield Online(vm.pid, vm.ports[port] if port else 0)


def linux_archive(path: Path, script: str, files: Mapping[str, Path]) -> Path:
    """Write an initramfs whose `/init` sets the network up and runs a script."""
    text = f"{linux.NETWORK_UP}; {script}; exec busybox sleep 600"
    path.write_bytes(linux.initramfs(text, linux.modules() | dict(files)))
    return path


def linux_words(archive: Path, port: int = 0, at: int = 0) -> list[str]:
    """Return the command that boots it with a network card; its `port` is reached `at` one of the host's."""
    rule = f",hostfwd=tcp:127.0.0.1:{at}-:{port}" if port else ""
    return linux.boot_command(
        archive,
        *("-global", "virtio-mmio.force-legacy=off"),
        *("-netdev", f"user,id=net0,ipv6=off{rule}", "-device", "virtio-net-device,netdev=net0"),
        memory=MEMORY,
    )


@contextmanager
def linux_guest(archive: Path, *, port: int = 0, line: str = "") -> Iterator[Online]:
    """Boot an initramfs of `linux_archive`; with a `line`, wait until it has printed that."""
    at = _free_port() if port else 0
    words = linux_words(archive, port, at)
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        deadline = threading.Timer(TIMEOUT, process.kill)
        deadline.start()
        try:
            assert process.stdout is not None
            if line and not any(line.encode() in text for text in process.stdout):
                raise OsvlabError(f"Linux did not print {line!r} within {TIMEOUT:g} seconds")
            yield Online(process.pid, at)
        finally:
            deadline.cancel()
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
