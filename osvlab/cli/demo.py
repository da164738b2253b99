"""`osvlab demo`: the whole trip on real programs, checked."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from osvlab.cli.exits import FAILURE, LAB_ERROR
from osvlab.cli.parser import seconds
from osvlab.cli.progress import Progress

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands
    from osvlab.demo import Demo
    from osvlab.image.image import Image

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Declare `demo`."""
    parser = commands.add_parser(
        "demo",
        help="build an image from real programs, boot it, check what it computed",
        description="Compile a C program, take the host's busybox and 20 MB of data, make an image of them, "
        "boot it, and compare the hash that the guest computes with the host's.",
    )
    parser.usage_status = LAB_ERROR
    parser.set_defaults(do=do, failure=LAB_ERROR)
    parser.add_argument("--memory", default="64M", metavar="SIZE", help="the guest's memory (default 64M)")
    parser.add_argument("--timeout", type=seconds, default=120.0, metavar="SECONDS", help="default 120")


def do(options: argparse.Namespace) -> int:
    """Build, boot, check."""
    from osvlab.cli.run import watch
    from osvlab.demo import make_demo
    from osvlab.image.build import build
    from osvlab.paths import cache_dir, one_at_a_time
    from osvlab.vm.run import run

    progress = Progress(sys.stdout)
    folder = cache_dir("demo")
    with progress.shown():
        with one_at_a_time(folder):
            shutil.rmtree(folder / "app", ignore_errors=True)
            demo = make_demo(folder / "app")
            image = build(demo.directory, command=demo.command, output=folder / "demo.img")
        progress.say(f"boot it: {options.memory} of memory; from here the guest speaks")
        with run(image, memory=options.memory, timeout=options.timeout) as vm:
            status = watch(vm, progress)
            boot, text = vm.boot, vm.console.text
    if status != 0:
        return status
    if boot is not None:
        print(f"\nWhere the time of the boot went:\n{boot}")
    return _conclude(demo, image, text)


def _conclude(demo: Demo, image: Image, text: str) -> int:
    """Compare the hashes, print the sizes, and say what to try next."""
    guest = re.search(r"^([0-9a-f]{64})  /data/20mb$", text, re.MULTILINE)
    print(f"\nhost   {demo.sha256}\nguest  {guest[1] if guest else 'printed no hash'}")
    if guest is None or guest[1] != demo.sha256:
        print("DIFFERENT: the guest read or computed something wrong.")
        return FAILURE
    osvlab = _shortest(Path(sys.argv[0]))
    path = _shortest(image.path)
    print("the same: what the guest read from its disk is what was put there.")
    print(f"\n{image}")
    print(
        f"""
What to try next
  {osvlab} run {path} -- /bin/busybox uname -a
  {osvlab} run {path} -- /bin/busybox sh     (its own commands; a library OS has no fork)
  {osvlab} inspect {path}
  {osvlab} run DIRECTORY                a directory with a program of your own in it
  {osvlab} doctor                       what this host can do, and how to get more
  make lab                              the same and more, in notebooks"""
    )
    return 0


def _shortest(path: Path) -> str:
    """Write a path as a person would type it here."""
    if shutil.which(path.name) == str(path):
        return path.name
    for base, prefix in ((Path.cwd(), ""), (Path(os.path.expanduser("~")), "~/")):
        if path.is_relative_to(base):
            return prefix + str(path.relative_to(base))
    return str(path)
