"""The kernel's options and command grammar, on the host under sanitizers."""

from __future__ import annotations

from pathlib import Path

from tests.kernel import host


def test_command_lines_mean_what_osv_says(tmp_path: Path) -> None:
    sources = ["tests/host/runtime_parse_test.c"]
    sources += [f"runtime/{name}.c" for name in ("options", "commands", "initscripts", "texts", "variables")]
    program = host.build(tmp_path / "runtime_parse_test", sources)
    work = tmp_path / "work"
    work.mkdir()
    assert host.run(program, str(work)).endswith("parsed as it should\n")
