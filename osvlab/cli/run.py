"""`osvlab run`: boot a directory or an image, with its console on this terminal."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from osvlab.cli.command import guest_command
from osvlab.cli.exits import LAB_ERROR, exit_status
from osvlab.cli.parser import seconds
from osvlab.cli.program import add_program_options, names_program, program_recipe
from osvlab.cli.progress import Progress
from osvlab.cli.recipe import add_source_options, source_options
from osvlab.errors import OsvlabError

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands
    from osvlab.image.recipe import Recipe
    from osvlab.vm.vm import VM

__all__ = ["add", "watch"]


def add(commands: Commands) -> None:
    """Declare `run`."""
    parser = commands.add_parser(
        "run",
        help="boot an image, a directory, or whatever else osvlab build takes",
        usage="osvlab run [options] SOURCE|IMAGE [-- COMMAND...]\n"
        "       osvlab run [options] --program PROGRAM [-- ARGUMENTS...]",
        description="Boot an image, a directory, or whatever else osvlab build takes. The guest's "
        "console is stdout, its exit status the exit status. One word after -- is a whole command line of "
        "the guest ('/a; /b &'), several are a program and its arguments.",
    )
    parser.usage_status = LAB_ERROR
    parser.set_defaults(do=do, failure=LAB_ERROR, takes_command=True)
    parser.add_argument(
        "image",
        nargs="?",
        metavar="SOURCE|IMAGE",
        help="a directory with a program, a Capstanfile, manifest or package; or a disk image",
    )
    parser.add_argument("--kernel", metavar="FILE", help="an OSv or lab kernel; the lab kernel if absent")
    parser.add_argument("--memory", default="64M", metavar="SIZE", help="the guest's memory (default 64M)")
    parser.add_argument("--cpus", type=int, default=1, metavar="N", help="virtual CPUs (default 1)")
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help="end the guest after that time")
    parser.add_argument("--machine", choices=("microvm", "pc", "q35"), help="QEMU machine type")
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a variable in the guest (repeatable)",
    )
    parser.add_argument(
        "--port",
        action="append",
        default=[],
        metavar="[HOST:]GUEST",
        help="reach a TCP port of the guest at a free port of this host, or at HOST (repeatable)",
    )
    parser.add_argument(
        "--network",
        action="store_true",
        help="let the guest open connections, to the internet and this host",
    )
    parser.add_argument("--capture", metavar="FILE", help="write all frames of the network to a pcap file")
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        metavar="NAME",
        help="include a part of the guest, such as httpserver (repeatable; only with SOURCE)",
    )
    parser.add_argument("--cloud-init", metavar="FILE", help="configure the guest as this YAML file says")
    parser.add_argument(
        "--persist", action="store_true", help="keep in the image what the guest writes (only with IMAGE)"
    )
    parser.add_argument("--verbose", action="store_true", help="let the kernel tell more on the console")
    add_source_options(parser)
    add_program_options(parser)
    parser.add_argument("--quiet", action="store_true", help="nothing on stderr but errors")
    parser.add_argument("--json", action="store_true", help="what happens, on stderr, as JSON lines")


def do(options: argparse.Namespace) -> int:
    """Boot it, pass the console through, and return what its end amounts to."""
    from osvlab.vm.run import run

    progress = Progress(as_json=options.json, quiet=options.quiet)
    with progress.shown():
        source, command = _source(options)
        vm = run(
            source,
            command,
            kernel=options.kernel,
            memory=options.memory,
            cpus=options.cpus,
            timeout=options.timeout,
            machine=options.machine,
            env=_environment(options.env),
            modules=options.module,
            verbose=options.verbose,
            ports=_ports(options.port),
            network=options.network or None,
            capture=options.capture,
            cloud_init=None if options.cloud_init is None else Path(options.cloud_init),
            persist=options.persist,
        )
        with vm:
            for port in vm.ports:
                progress.say(
                    f"{vm.url(port)} is port {port} of the guest", event="port", port=port, url=vm.url(port)
                )
            return watch(vm, progress)


def _source(options: argparse.Namespace) -> tuple[Recipe | str, str | None]:
    """Return what is to run, as `run` takes it, and the command."""
    from osvlab.image.command import split_command_line
    from osvlab.image.recipe import Recipe
    from osvlab.vm.boot import is_built

    if names_program(options, options.image):
        return program_recipe(options), None
    if options.image is None:
        raise OsvlabError("nothing to run", hint="Name an image, a directory, or --program PROGRAM.")
    command = guest_command(options.words)
    told = source_options(options)
    if told and os.path.isfile(options.image) and not is_built(options.image):
        name = next(iter(told)).replace("variables", "define")
        raise OsvlabError(
            f"{options.image} is an image already, and --{name} is of what it is built of",
            hint="Leave the option out.",
        )
    if not told:
        return options.image, command
    program = None if command is None else split_command_line(command)[1] or None
    return Recipe.from_source(options.image, program, **told), command


def watch(vm: VM, progress: Progress) -> int:
    """Show a guest until it ends; return the exit status that stands for its end."""
    from osvlab.cli.terminal import END_OF_INPUT, Screen, keyboard
    from osvlab.kernels import Capability

    # To a kernel that does not know it, it would be a letter like others.
    ends = vm.kernel is None or vm.kernel.can(Capability.ENDS_INPUT_AT_CONTROL_D)
    screen = Screen(vm.console, sys.stdout.buffer)

    def wait() -> None:
        try:
            vm.wait()
        finally:
            screen.end()

    waiter = threading.Thread(target=wait, name="osvlab-wait", daemon=True)
    with keyboard(vm.console, END_OF_INPUT if ends else b""):
        waiter.start()
        screen.show()
        waiter.join()
    outcome = vm.wait()
    status = exit_status(outcome)
    boot = vm.boot
    first = boot.application_output if boot is not None else None
    booted = "" if first is None else f", first line after {first * 1e3:.0f} ms"
    progress.say(
        f"{outcome}{booted}",
        event="ended",
        outcome=type(outcome).__name__,
        description=str(outcome),
        status=status,
        first_line_seconds=first,
    )
    return status


def _ports(words: list[str]) -> dict[int, int | None]:
    ports: dict[int, int | None] = {}
    for word in words:
        host, _, guest = word.rpartition(":")
        if not guest.isdecimal() or not (host.isdecimal() or not host) or word.startswith(":"):
            raise OsvlabError(f"--port {word}: not [HOST:]GUEST", hint="Write it like --port 8080:80.")
        if int(guest) in ports:
            raise OsvlabError(
                f"--port {word}: port {guest} of the guest is forwarded already",
                hint="Name each port of the guest once.",
            )
        ports[int(guest)] = int(host) if host else None
    return ports


def _environment(pairs: list[str]) -> dict[str, str] | None:
    variables: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise OsvlabError(f"--env {pair}: not NAME=VALUE", hint="Write it like --env HOME=/tmp.")
        variables[name] = value
    return variables or None
