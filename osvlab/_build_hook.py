"""Compile the lab kernel while a wheel is built.

Hatchling runs this file (see `pyproject.toml`); nothing imports it. The sources always ship too, so a
wheel that was built without a compiler compiles the kernel at first use. An editable install compiles
nothing: the checkout does.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNEL = Path("osvlab", "kernel")
PRODUCTS = ("lab-kernel.elf", "lab-kernel-stripped.elf", "boot.bin")
KINDS = ("module.toml", "guest_module.c")  # what makes a folder below modules one


class KernelBuildHook(BuildHookInterface[Any]):
    """Put the compiled kernel into the wheel, where a compiler is at hand."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the kernel and list its files, unless `OSVLAB_NO_KERNEL` is set or a tool is missing."""
        if version == "editable" or os.environ.get("OSVLAB_NO_KERNEL"):
            return
        missing = [tool for tool in ("make", "gcc", "ld", "objcopy") if shutil.which(tool) is None]
        if missing:
            self._leave_for_later(f"no {', '.join(missing)}")
            return
        # The build directory stays: the next wheel from this tree only links what changed.
        command = ["make", "-C", str(Path(self.root, KERNEL)), f"PYTHON={sys.executable}"]
        build = Path(self.root, KERNEL, "build")
        build.mkdir(exist_ok=True)
        with (build / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # others may compile there: osvlab/kernel_build.py
            made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            self._leave_for_later(f"make failed:\n{made.stdout}{made.stderr}")
            return
        folder = Path(self.root, KERNEL, "modules")
        modules = {path.parent.name for kind in KINDS for path in folder.glob(f"*/{kind}")}
        for product in (*PRODUCTS, *sorted(f"modules/{name}.so" for name in modules)):
            relative = KERNEL / "build" / product
            build_data["force_include"][str(Path(self.root, relative))] = relative.as_posix()

    def _leave_for_later(self, reason: str) -> None:
        self.app.display_warning(f"osvlab: the kernel will be compiled at first use ({reason})")
