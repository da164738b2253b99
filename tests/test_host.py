"""What `doctor` finds on hosts that lack something: made so, with the real checks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from osvlab import host
from osvlab.host import Finding, HostReport, Verdict, doctor


def test_every_finding_that_limits_has_words() -> None:
    report = doctor()
    assert [finding.name for finding in report.findings] == list(host._CHECKS)
    assert all(finding.found for finding in report.findings)
    assert report["python"].verdict is Verdict.OK
    assert report.usable == all(finding.verdict != "missing" for finding in report.findings)


def test_without_anything_on_the_path_everything_is_named(tmp_path: Path) -> None:
    """A process of its own, as what is found is remembered."""
    code = "import json; from osvlab.host import doctor; print(json.dumps(doctor().as_dict()))"
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    found = {finding["name"]: finding for finding in json.loads(said)["findings"]}
    for name in ("qemu", "machine types", "acceleration", "compiler", "setpriv"):
        assert found[name]["verdict"] == "missing", name
        assert "apt-get install" in found[name]["fix"], name


def test_a_compiler_that_does_not_compile_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "gcc"
    broken.write_text("#!/bin/sh\necho 'gcc: fatal error: no cc1' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    verdict, found, fix = host._compiler()
    assert verdict is Verdict.MISSING
    assert "no cc1" in found
    assert fix is not None


def test_a_folder_that_cannot_be_written_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert doctor()["disk"].verdict is Verdict.MISSING


def test_memory_is_what_a_container_may_use() -> None:
    assert 0 < host._available_memory() < 1 << 50


def test_html_escapes() -> None:
    report = HostReport((Finding("qemu", Verdict.MISSING, "<none>", "install & run"),))
    assert "&lt;none&gt;" in report._repr_html_()
    assert "install &amp; run" in report._repr_html_()


def test_a_name_that_was_not_looked_at() -> None:
    with pytest.raises(KeyError, match="toaster"):
        HostReport(())["toaster"]
