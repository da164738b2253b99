"""`osvlab top`: the threads of a running guest, and its memory."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from osvlab.cli.guest import VM_HELP, add_rest_options, rest_of

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands
    from osvlab.guest.models import Thread
    from osvlab.guest.rest import Rest

__all__ = ["add"]

CLEAR = "\x1b[H\x1b[2J"


def add(commands: Commands) -> None:
    """Declare `top`."""
    parser = commands.add_parser(
        "top",
        help="the threads of a running guest",
        description="Show a guest's memory and its threads, the busiest first, until Ctrl-C.",
    )
    parser.set_defaults(do=do)
    parser.add_argument("vm", nargs="?", metavar="VM", help=VM_HELP)
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="default 2")
    parser.add_argument("--once", action="store_true", help="show it once and end")
    parser.add_argument("--json", action="store_true", help="a line of JSON each time")
    add_rest_options(parser)


def do(options: argparse.Namespace) -> int:
    """Ask and show, again and again."""
    with rest_of(options.vm, options) as rest:
        before: dict[int, int] = {}
        asked = 0.0
        while True:
            began = time.monotonic()
            threads = rest.os.threads()
            if options.json:
                print(json.dumps(_facts(rest, threads)), flush=True)
            else:
                _show(rest, threads, before, began - asked, clear=sys.stdout.isatty() and not options.once)
            if options.once:
                return 0
            before = {thread.id: thread.cpu_ms for thread in threads}
            asked = began
            time.sleep(options.interval)


def _facts(rest: Rest, threads: list[Thread]) -> dict[str, object]:
    return {
        "uptime": rest.os.uptime(),
        "memory": {"total": rest.os.memory.total(), "free": rest.os.memory.free()},
        "threads": [asdict(thread) for thread in threads],
    }


def _show(rest: Rest, threads: list[Thread], before: dict[int, int], seconds: float, *, clear: bool) -> None:
    from osvlab.paths import format_size

    total, free = rest.os.memory.total(), rest.os.memory.free()
    lines = [
        f"{rest.os.name()} {rest.os.version()}, up {rest.os.uptime()} s, {len(threads)} threads, "
        f"{format_size(free)} of {format_size(total)} free",
        f"{'id':>5} {'name':<16} {'status':<10} {'cpu':>3} {'%':>5} {'ms':>9} {'switches':>9}",
    ]

    def spent(thread: Thread) -> int:
        return thread.cpu_ms - before.get(thread.id, thread.cpu_ms if before else 0)

    for thread in sorted(threads, key=lambda thread: (-spent(thread), thread.id)):
        share = f"{spent(thread) / seconds / 10:5.1f}" if before else "    -"
        cpu = "-" if thread.cpu is None else str(thread.cpu)
        lines.append(
            f"{thread.id:>5} {thread.name:<16} {thread.status:<10} {cpu:>3} {share} "
            f"{thread.cpu_ms:>9} {thread.switches:>9}"
        )
    print((CLEAR if clear else "") + "\n".join(lines), flush=True)
