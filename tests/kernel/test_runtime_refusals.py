"""What the runtime says to programs that cannot run, and to command lines that make no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.runtime import Runtime

ELF_CLASS, ELF_DATA, ELF_VERSION, ELF_ABI, ELF_TYPE, ELF_MACHINE = 4, 5, 6, 7, 16, 18


def patched(offset: int, value: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:offset] + bytes([value]) + data[offset + 1 :]


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "bad elf header (the file is empty)"),
    "text": (lambda data: b"hello, world\n", "bad elf header (not an ELF file)"),
    "script": (
        lambda data: b"#!/bin/sh -e\necho\n",
        "a script, not an ELF program; run its interpreter: /bin/sh -e ",
    ),
    "32-bit": (patched(ELF_CLASS, 1), "bad elf class (a 32-bit file; this kernel runs 64-bit programs)"),
    "big-endian": (patched(ELF_DATA, 2), "bad elf endianness"),
    "version": (patched(ELF_VERSION, 9), "bad elf version 9"),
    "abi": (patched(ELF_ABI, 9), "bad os abi 9"),
    "object file": (patched(ELF_TYPE, 1), "bad executable type 1"),
    "aarch64": (patched(ELF_MACHINE, 183), "differs from the kernel: 183, not 62 (x86_64)"),
    "20 bytes": (lambda data: data[:20], "executable too short"),
    "100 bytes": (lambda data: data[:100], "executable too short"),
    "half": (lambda data: data[: len(data) // 2], "executable too short"),
    "entry": (patched(30, 0x7F), "bad elf header (its entry 0x7f"),
    "no headers": (patched(56, 0), "bad elf header (0 program headers"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_programs_are_refused_in_one_line(runtime: Runtime, damage: str) -> None:
    change, says = DAMAGED[damage]
    program = runtime.compile("die.c")
    program.write_bytes(change(program.read_bytes()))
    ended = runtime.run(f"{program}; {program} second")
    cause, farewell = ended.errors.splitlines()
    assert says in cause
    assert str(program) in cause
    assert farewell == f"Failed to load object: {program}. Powering off."
    assert (ended.output, ended.status) == ("", 126)


def test_absent_programs(runtime: Runtime) -> None:
    ended = runtime.run("/no/such/program; /bin/true")
    assert ended.errors.splitlines() == [
        "/no/such/program: No such file or directory",
        "Failed to load object: /no/such/program. Powering off.",
    ]
    assert ended.status == 127
    ended = runtime.run("unheard-of")
    assert ended.errors.startswith("unheard-of: program not found (looked in /, /usr/lib, ")
    assert "a directory, not a program" in runtime.run("/usr").errors
    assert "no regular file" in runtime.run("/dev/null").errors


def test_missing_library_is_named_with_who_wants_it_and_where_was_looked(runtime: Runtime) -> None:
    library = runtime.library("ifunc_library.c", "-Wno-attributes")
    folder = f"-L{library.parent}"
    program = runtime.compile("ifunc.c", folder, "-lifunc_library", "-Wl,-rpath,$ORIGIN/deep:/other")
    by_path = runtime.compile("ifunc.c", str(library), name="by_path")
    library.unlink()
    assert runtime.run(str(by_path)).errors.startswith(
        f"{by_path}: library {library}: No such file or directory\n"
    )
    ended = runtime.run(f"--env=LD_LIBRARY_PATH=/from/env {program}")
    line = ended.errors.splitlines()[0]
    assert line.startswith(f"{program}: library libifunc_library.so not found (looked in ")
    places = line.partition("looked in ")[2].rstrip(")").split(", ")
    assert places[:3] == ["/from/env", f"{program.parent}/deep", "/other"]
    assert {"/", "/usr/lib", "/usr/lib/x86_64-linux-gnu"} <= set(places)
    assert ended.status == 127


def test_missing_symbols_are_named_with_who_wants_them_and_where_was_looked(runtime: Runtime) -> None:
    missing = runtime.library("plugin.c", "-DMISSING")
    program = runtime.compile(
        "die.c", "-Wl,--no-as-needed", str(missing), "-Wl,--unresolved-symbols=ignore-all"
    )
    ended = runtime.run(str(program))
    assert ended.errors.splitlines() == [
        f"{missing}: missing symbol nobody_has_this (looked in {program}, {missing} and the kernel)",
        f"Failed to load object: {program}. Powering off.",
    ]
    assert ended.status == 127


def test_text_relocations_are_applied_and_closed_again(runtime: Runtime) -> None:
    library = runtime.folder / "libtext.so"
    runtime.compile(
        "order_library.c", "-shared", "-fno-pic", "-mcmodel=large", "-Wl,-z,notext", name=library.name
    )
    program = runtime.compile("order.c", "-no-pie", str(library))
    ended = runtime.run(str(program))
    assert "library ? begins" in ended.output
    assert ended.status == 3


def test_exit_statuses(runtime: Runtime) -> None:
    program = runtime.compile("die.c")
    assert runtime.run(f"{program} 7; {program} 0").status == 0
    ended = runtime.run(f"{program} 0; {program} 7")
    assert (ended.output.splitlines()[-1], ended.status) == (f"program {program} returned 7", 7)
    assert runtime.run(f"{program} abort").status == 128 + 6
    assert runtime.run(f"{program} kill").status == 128 + 9
    ended = runtime.run(f"{program} 3 & {program} 0")
    assert (sorted(ended.output.splitlines())[-1], ended.status) == (f"program {program} returned 3", 0)


def test_detached_programs_are_asked_to_go(runtime: Runtime) -> None:
    program = runtime.compile("die.c")
    ended = runtime.run(f"{program} wait &! /bin/sleep 0.3; {program} 4")
    assert ended.output.splitlines()[-1] == "asked to go"
    assert ended.status == 4


def test_where_a_program_starts(runtime: Runtime) -> None:
    program = runtime.compile("die.c")
    log = runtime.folder / "log"
    ended = runtime.run(f"--cwd={runtime.folder} --redirect={log} ./{program.name} where")
    assert (ended.output, ended.errors, ended.status) == ("", "", 0)
    assert f"Writing stdout and stderr to {log}\n" in ended.boot
    lines = log.read_text().splitlines()
    assert lines[0] == f"Cmdline: ./{program.name} where"
    assert str(runtime.folder) in {line.split()[0] for line in lines}
    assert "on stderr" in lines
    runtime.run(f"--redirect=>>{log} {program} where")
    assert len(log.read_text().splitlines()) == 2 * len(lines)


def test_lines_come_in_the_order_of_osv(runtime: Runtime) -> None:
    program = runtime.compile("die.c")
    ended = runtime.run(f"--rootfs=rofs --rootfs=zfs {program} 0")
    boot = ended.boot.splitlines()
    assert boot[0].startswith("OSv ")
    assert boot[1:] == ["Ignoring '--rootfs' options after the first.", "Booted up in 0.00 ms"]
    assert ended.output == "ending: 0\n"
    assert "OSv options" in runtime.run(f"--help {program} 0").boot


def test_addresses_from_the_command_line_are_said(runtime: Runtime) -> None:
    program = runtime.compile("die.c")
    options = r"--ip=eth0,10.0.0.2,255.0.0.0 --ip=eth7\ 1.2.3.4\ 255.0.0.0 --defaultgw=11.0.0.1"
    boot = runtime.run(f"{options} {program} 0").boot.splitlines()
    assert boot[1:-1] == [
        "eth0: 10.0.0.2",
        "eth7: 1.2.3.4",
        "Could not set --ip=eth7 1.2.3.4 255.0.0.0: No such device",
        "Could not set --defaultgw=11.0.0.1: Network unreachable",
    ]


SENSELESS = {
    "--frobnicate --leak /x": "unrecognized option: frobnicate\nunrecognized option: leak\nOSv options",
    "-x /x": "not an option: -x\nOSv options",
    "--ip=eth0,10.0.0.2 /x": "incorrect parameter on --ip\n",
    "--ip=eth0,10.0.0.x,255.0.0.0 /x": "incorrect parameter on --ip: not an IPv4 address: eth0,10.0.0.x",
    "--ip=eth0,10.0.0.2,255.0.0.0 --defaultgw=x /x": "--defaultgw: not an IPv4 address: x",
    "--ip=eth0,10.0.0.2,255.0.0.0 --nameserver=x /x": "--nameserver: not an IPv4 address: x",
    "--console=tty /x": "Unknown console:tty\n",
    '/x "open': "Failed to parse command line.\n",
    " ": "This image has an empty command line. Nothing to run.\n",
    "runscript /no/such": "Failed to open runscript file '/no/such'.\n",
}


@pytest.mark.parametrize("line", SENSELESS)
def test_senseless_command_lines(runtime: Runtime, line: str) -> None:
    ended = runtime.run(line)
    assert SENSELESS[line] in ended.boot + ended.output
    assert ended.status == 2


def test_arguments_that_do_not_fit(runtime: Runtime) -> None:
    program = runtime.compile("die.c")
    script = runtime.folder / "script"
    script.write_text(f"{program} 0 {'x' * (3 << 20)}\n")
    ended = runtime.run(f"runscript {script}")
    assert "arguments and environment do not fit on its stack" in ended.errors
    assert ended.status == 126


def test_a_hundred_programs_in_a_row(runtime: Runtime) -> None:
    program = runtime.compile("die.c")
    script: Path = runtime.folder / "script"
    script.write_text(f"{program} 0\n" * 100)
    assert runtime.run(f"runscript {script}").output.count("ending: 0\n") == 100
