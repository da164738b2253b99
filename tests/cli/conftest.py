"""The real command in a process of its own, with real guests of a few bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from osvlab.image.build import build
from osvlab.kernels import Kernel
from tests.vm.guests import Guest

COMMAND = [sys.executable, "-m", "osvlab.cli"]


class Lab:
    """Runs `osvlab`, in a private runtime folder, so that it can be told what it left behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = folder / "runtime"
        self.runtime.mkdir()
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.runtime), "PYTHONUNBUFFERED": "1"}
        self.started: list[subprocess.Popen[bytes]] = []

    def __call__(
        self, *arguments: str | Path, stdin: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        words = [*COMMAND, *map(str, arguments)]
        variables = self.environment | (env or {})
        return subprocess.run(
            words, env=variables, capture_output=True, text=True, check=False, timeout=60, **given
        )

    def start(self, *arguments: str | Path, **options: object) -> subprocess.Popen[bytes]:
        """Start it and return at once."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        process = subprocess.Popen([*COMMAND, *map(str, arguments)], env=self.environment, **pipes)  # type: ignore[call-overload]
        self.started.append(process)
        return process

    def guests(self) -> list[int]:
        """Return the process ids of this lab's QEMUs: each runs in a folder below the runtime folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    where = os.readlink(entry / "cwd")
                except OSError:
                    continue
                if where.startswith(str(self.runtime)):
                    found.append(int(entry.name))
        return found

    def image(self, guest: Guest) -> tuple[Path, str, Path]:
        """Return the arguments of `run` that boot a tiny guest."""
        kernel = guest.assemble(self.folder)
        app = self.folder / "app"
        app.mkdir(exist_ok=True)
        (app / "data").write_text("something\n")
        image = build(app, "/data", kernel=Kernel.open(kernel), output=self.folder / "app.img", check=False)
        return image.path, "--kernel", kernel


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    for process in lab.started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture
def running(lab: Lab) -> Callable[..., subprocess.Popen[bytes]]:
    """Start `osvlab run` with a guest that says "ready" and hangs; return once it has said so."""

    def start(guest: Guest | None = None, **options: object) -> subprocess.Popen[bytes]:
        guest = guest or Guest().say("ready\n").hang()
        process = lab.start("run", "--quiet", *lab.image(guest), **options)
        if process.stdout is not None:
            assert process.stdout.readline() == b"ready\n", process.communicate(timeout=20)
        return process

    return start
