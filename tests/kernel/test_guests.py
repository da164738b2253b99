"""Programs that run on Linux and must run on the lab kernel in the same way; and ones that must fault."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

import osvlab
from osvlab.image.build import build
from osvlab.image.image import Image
from osvlab.vm.outcome import Crashed

PROGRAMS = Path(__file__).parent / "guest" / "core"
NAMES = ["threads", "signals", "queued", "futexes", "processes", "mappings", "memory", "clocks"]


def compile_program(name: str, output: Path, *flags: str) -> Path:
    """Compile one guest program as a user would: plain gcc, glibc headers, dynamic PIE."""
    argv = ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread", *flags]
    subprocess.run([*argv, str(PROGRAMS / f"{name}.c"), "-o", str(output)], check=True)
    return output


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("guests")
    for name in [*NAMES, "exits", "faults"]:
        compile_program(name, tree / name)
    compile_program("faults", tree / "faults-static", "-static")
    compile_program("random_calls", tree / "random_calls", "-static")
    shutil.copy("/bin/busybox", tree)
    return build(tree, command="/threads", output=tree.parent / "guests.img")


@pytest.mark.parametrize("name", NAMES)
def test_program_passes_on_linux_and_on_the_lab_kernel(name: str, image: Image, tmp_path: Path) -> None:
    host = subprocess.run(
        [compile_program(name, tmp_path / name)], capture_output=True, text=True, timeout=60, check=False
    )
    assert host.returncode == 0, host.stdout
    with osvlab.run(image, command=f"/{name}", memory="64M", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        assert f"{name}: ok" in vm.console.text


@pytest.mark.parametrize("machine", ["microvm", "pc", "q35"])
def test_every_machine_boots_with_its_disk(machine: str, image: Image) -> None:
    with osvlab.run(image, command="/busybox sha256sum /threads", machine=machine, timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        assert re.search(r"[0-9a-f]{64}  /threads", vm.console.text)


FAULTS = {
    "null": r"write of unmapped address \(near NULL\) 0x10",
    "jump-null": r"execution of unmapped address \(near NULL\) 0x0",
    "write-text": r"write of protected address 0x",
    "write-constant": r"write of protected address 0x",
    "execute-data": r"execution of protected address 0x",
    "write-kernel-text": r"write of protected ",
    "stack": r"write of unmapped address .*stack overflow\?",
    "thread-stack": r"write of (un)?(protected|mapped) address .*stack overflow\?",
    "abort": r"abort",
    "opcode": r"invalid opcode",
    "non-canonical": r"general protection",
    "kernel-stack": r"guard page of a kernel stack",
    "use-after-unmap": r"write of unmapped address",
    "exhaust": r"out of memory: \d+ KiB of RAM",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_must_fault_faults_and_is_reported_in_words(fault: str, image: Image) -> None:
    with osvlab.run(image, command=f"/faults {fault}", timeout=60) as vm:
        outcome = vm.wait()
        assert isinstance(outcome, Crashed), vm.console.text
        assert re.search(FAULTS[fault], outcome.report.fault), outcome.report.fault
        assert "survived" not in vm.console.text
        if fault in {"null", "jump-null", "abort", "opcode", "non-canonical"}:
            assert "main" in {frame.symbol for frame in outcome.report.backtrace}, vm.console.text


def test_a_backtrace_names_every_function_on_the_way_to_the_fault(image: Image) -> None:
    with osvlab.run(image, command="/faults null", timeout=60) as vm:
        outcome = vm.wait()
    assert isinstance(outcome, Crashed)
    names = [frame.symbol for frame in outcome.report.backtrace]
    assert names[:3] == ["innermost", "middle", "main"]
    assert "rip" in outcome.report.registers


def test_the_clock_keeps_time_with_the_host(image: Image) -> None:
    with osvlab.run(image, command="/clocks", timeout=60) as vm:
        vm.wait()
        ticks = [int(n) for n in re.findall(r"^tick (\d+)", vm.console.text, re.MULTILINE)]
        realtime = [int(n) for n in re.findall(r"realtime (\d+)", vm.console.text)]
    steps = [b - a for a, b in pairwise(ticks)]
    assert len(steps) == 10
    assert all(step >= 100_000_000 for step in steps)
    assert realtime[-1] - realtime[0] == pytest.approx(ticks[-1] - ticks[0], abs=2_000_000)


def test_every_program_sees_the_wall_clock_as_it_was_set_last(image: Image) -> None:
    with osvlab.run(image, command="/clocks set; /clocks wall; /busybox date +%s", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        seconds = [int(n) // 10**9 for n in re.findall(r"wall (\d+)", vm.console.text)]
        seconds += [int(n) for n in re.findall(r"^(\d+)\s*$", vm.console.text, re.MULTILINE)]
    assert len(seconds) == 3
    assert all(1_000_000_000 <= n < 1_000_000_060 for n in seconds), seconds


def test_commands_run_one_after_the_other_and_the_last_one_decides(image: Image) -> None:
    command = '/busybox false; /busybox echo between; /busybox sh -c "exit 7"'
    with osvlab.run(image, command=command, timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(7), vm.console.text
        assert "between" in vm.console.text


ENDS = {"return": 5, "thread": 6, "main-thread-ends": 6, "quick": 7, "kill": 128 + 9, "term": 128 + 15}


@pytest.mark.parametrize("way", ENDS)
def test_a_process_ends_with_its_threads_and_gives_everything_back(way: str, image: Image) -> None:
    """The next command runs after it, again and again, in a machine too small for leaks."""
    once = f"/exits {way}; "
    with osvlab.run(image, command=once * 12 + f"/exits {way}", memory="16M", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(ENDS[way]), vm.console.text
        calls_handlers = way in {"return", "thread", "main-thread-ends"}
        assert vm.console.text.count("at exit") == (13 if calls_handlers else 0)


def test_orphans_leave_nothing_behind(image: Image) -> None:
    with osvlab.run(image, command="/processes; /busybox ls /proc", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        listing = vm.console.text.partition("processes: ok\n")[2]
    pids = re.findall(r"\b\d+\b", listing)
    assert len(pids) == 2, listing  # the kernel, and busybox itself


@pytest.mark.parametrize("seed", [1, 2])
def test_calls_that_make_no_sense_do_no_harm(seed: int, image: Image) -> None:
    with osvlab.run(image, command=f"/random_calls {seed} 100000", memory="64M", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        assert "random_calls: ok" in vm.console.text


def test_too_little_memory_is_said_with_what_there_is_and_what_it_takes(image: Image) -> None:
    with osvlab.run(image, memory="3M", timeout=60) as vm:
        outcome = vm.wait()
    assert isinstance(outcome, Crashed), vm.console.text
    assert re.search(
        r"not enough memory: the machine has 3072 KiB, the kernel alone takes", outcome.report.fault
    )


def test_a_small_machine_reads_a_large_file(image: Image) -> None:
    with osvlab.run(image, command="/busybox md5sum /busybox /busybox", memory="5M", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
