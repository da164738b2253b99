"""The bench itself: verdicts, tables, and that the baselines are what they claim to be."""

from __future__ import annotations

import gzip
import struct
import subprocess
from pathlib import Path

import pytest

from benchmarks import cycles, linux
from benchmarks.__main__ import measured, report, table
from benchmarks.bzimage import unlz4, vmlinux
from benchmarks.harness import Bound, Measured, Row, median_seconds, registered
from benchmarks.qemu import bare_kernel, command, until_line
from osvlab.demo import static_busybox
from osvlab.errors import OsvlabError


@pytest.mark.parametrize(
    ("bound", "value", "verdict"),
    [
        (Bound(2.0, 1.3), 1.2, "aim"),
        (Bound(2.0, 1.3), 1.9, "at least"),
        (Bound(2.0, 1.3), 2.1, "SHORT"),
        (Bound(8, 15, more_is_better=True), 20, "aim"),
        (Bound(8, 15, more_is_better=True), 9, "at least"),
        (Bound(8, 15, more_is_better=True), 7, "SHORT"),
    ],
)
def test_a_value_meets_its_bounds_or_not(bound: Bound, value: float, verdict: str) -> None:
    assert bound.verdict(value) == verdict


def test_the_table_says_also_what_could_not_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OsvlabError("no such kernel")

    monkeypatch.setitem(registered, "broken", broken)
    rows = [Row("boot", "x", Bound(2, 1.3), Measured(1.5, {"seconds": 0.2})), *measured("broken")]
    text = table(rows)
    assert "| boot " in text
    assert "1.5x" in text
    assert "not measured: no such kernel" in text
    assert [row["verdict"] for row in report(rows)["rows"]] == ["at least", "not measured"]  # type: ignore[index,attr-defined]


def test_a_row_without_bounds_is_only_there_to_be_known() -> None:
    row = Row("length", "MiB", None, Measured(2.0))
    assert (row.verdict, row.good) == ("for information", True)
    assert row.as_dict()["aim"] is None
    assert "| length | 2 MiB " in table([row])


def test_medians_are_taken_in_turns() -> None:
    order: list[str] = []
    first, second = median_seconds(
        lambda: order.append("a") or 1.0, lambda: order.append("b") or 2.0, times=3
    )
    assert order == ["a", "b"] * 3
    assert (first, second) == (1.0, 2.0)


@pytest.mark.qemu
def test_the_bare_kernel_only_ends_qemu(tmp_path: Path) -> None:
    ended = subprocess.run(
        command(bare_kernel(tmp_path / "bare")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 2 * 1 + 1
    assert ended.stdout == b""


def bzimage(payload: bytes) -> bytes:
    head = bytearray(1024)
    head[0x1F1], head[0x202:0x206] = 1, b"HdrS"
    head[0x248:0x250] = struct.pack("<II", 0, len(payload))
    return bytes(head) + payload


def lz4(*blocks: bytes) -> bytes:
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(block)) + block for block in blocks)


def test_lz4_blocks_are_literals_and_copies_that_may_overlap() -> None:
    # "abc", then 9 bytes from 3 back (a token holds the length less 4), then "!".
    once = b"\x35abc\x03\x00" + b"\x10!"
    # 15 + 3 literals, then 15 + 4 + 255 + 1 bytes from 1 back, and nothing more.
    long = b"\xff\x03" + b"x" * 17 + b"y" + b"\x01\x00\xff\x01" + b"\x00"
    assert unlz4(lz4(once)) == b"abcabcabcabc!"
    assert unlz4(lz4(once, long)) == b"abcabcabcabc!" + b"x" * 17 + b"y" * (1 + 275)


def test_a_bzimage_gives_its_elf_file() -> None:
    elf = b"\x7fELF" + b"kernel" * 100
    assert vmlinux(bzimage(gzip.compress(elf))) == elf
    literals = bytes([0xF0, 4 + 6 - 15 + 5]) + elf[:15]
    assert vmlinux(bzimage(lz4(literals) + struct.pack("<I", 15))) == elf[:15]


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (b"\x7fELF", "not a bzImage"),
        (bzimage(b"BZh9"), "unknown way: it begins with 42 5a 68 39"),
        (bzimage(gzip.compress(b"no ELF")), "damaged bzImage"),
    ],
)
def test_what_is_no_bzimage_is_said(image: bytes, told: str) -> None:
    with pytest.raises(OsvlabError, match=told):
        vmlinux(image)


def test_cpio_lists_the_initramfs(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"odd")
    archive = linux.initramfs("echo", {"usr/lib/x": program})
    said = subprocess.run(
        [static_busybox(), "cpio", "-t"], input=archive, capture_output=True, check=True
    ).stdout
    names = said.decode().split()
    assert {"init", "bin/busybox", "dev/console", "usr/lib/x"} <= set(names)
    assert names.index("usr") < names.index("usr/lib") < names.index("usr/lib/x")


def test_the_libraries_of_a_dynamic_program_include_its_loader() -> None:
    names = [Path(name).name for name in linux.libraries(Path("/bin/ls"))]
    assert "libc.so.6" in names
    assert "ld-linux-x86-64.so.2" in names


def test_figures_of_both_programs_are_read() -> None:
    lines = "\r\n".join(f"{name} 12.5" for name in cycles.TITLES)
    text = f"hello\r\n{lines}\r\ndone\r\n{lines}\r\ndone\r\n"
    assert cycles.figures(text)["dynamic"]["strlen"] == 12.5
    assert cycles.figures(text)["static"].keys() == cycles.TITLES.keys()


@pytest.mark.parametrize("text", ["", "thread 1.0\ndone\n", "syscall 4.0\ndone\ndone\n"])
def test_figures_that_are_incomplete_are_refused(text: str) -> None:
    with pytest.raises(OsvlabError, match="did not run to its end"):
        cycles.figures(text)


def test_the_programs_run_on_this_host(tmp_path: Path) -> None:
    cycles.compile_programs(tmp_path / "programs")
    said = [
        subprocess.run([tmp_path / "programs" / name], capture_output=True, text=True, check=True).stdout
        for name in cycles.PROGRAMS
    ]
    assert all(value > 0 for values in cycles.figures("".join(said)).values() for value in values.values())


def test_a_line_that_never_comes_is_an_error() -> None:
    with pytest.raises(OsvlabError, match=r"was not printed.*something else"):
        until_line(["echo", "something else"], b"hello")


@pytest.mark.qemu
def test_the_smallest_memory_is_found() -> None:
    ((_, unit, _, measured),) = registered["memory"]()
    assert unit == "MiB"
    assert 3 < measured.value <= 8
