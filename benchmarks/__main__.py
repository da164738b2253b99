"""Run the benchmarks: all of them, or those named.

python -m benchmarks                 everything, into benchmarks/results/
python -m benchmarks boot startup    only these
python -m benchmarks --list
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import (
    boot,
    cycles,
    disk,
    images,
    network,
    sizes,
    startup,
    zfs_images,
    zfs_reading,
    zfs_vm,
)
from benchmarks.harness import Row, registered
from osvlab.errors import OsvlabError

RESULTS = Path(__file__).parent / "results"
# Importing them registers what they measure.
MODULES = (startup, sizes, boot, images, zfs_images, zfs_vm, zfs_reading, disk, cycles, network)


def main() -> int:
    """Measure, print the table, write the JSON; exit with 1 unless every row is good enough."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="list the names")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the JSON and the table")
    options = parser.parse_args()
    if options.list:
        print(*registered, sep="\n")
        return 0
    if unknown := set(options.names) - registered.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    for name in options.names or registered:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows += measured(name)
    text = table(rows)
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "latest.md").write_text(text + "\n")
    (options.output / "latest.json").write_text(json.dumps(report(rows), indent=2) + "\n")
    return 0 if all(row.good for row in rows) else 1


def measured(name: str) -> list[Row]:
    """Run one measure. One that cannot be taken here becomes a row that says why."""
    rows: list[Row] = []
    try:
        for title, unit, bound, value in registered[name]():
            rows.append(Row(title, unit, bound, value))
    except (OsvlabError, OSError, subprocess.SubprocessError) as error:
        rows.append(Row(name, "", None, None, trouble=str(error)))
    return rows


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table that also reads well as plain text."""
    head = ("what", "measured", "at least", "aim", "verdict")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    if row.measured is None:
        return row.name, "", "", "", f"not measured: {row.trouble}".replace("\n", " ")
    unit = f" {row.unit}" if row.unit != "x" else "x"
    limits = ("", "") if row.bound is None else (row.bound.at_least, row.bound.aim)
    value, at_least, aim = (
        number if isinstance(number, str) else f"{number:.3g}{unit}"
        for number in (row.measured.value, *limits)
    )
    return row.name, value, at_least, aim, row.verdict


def report(rows: list[Row]) -> dict[str, object]:
    """Return everything, with what it was measured on."""
    qemu = subprocess.run(
        ["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=False
    ).stdout.partition("\n")[0]
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": {
            "linux": platform.release(),
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "load": os.getloadavg()[0],
            "qemu": qemu,
        },
        "rows": [row.as_dict() for row in rows],
    }


if __name__ == "__main__":
    sys.exit(main())
