"""Absent, forbidden and broken KVM are told apart, and what was tried is remembered."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from osvlab.errors import OsvlabError
from osvlab.paths import cache_dir
from osvlab.vm import accelerator
from osvlab.vm._probe import ARRIVED, probe_elf
from osvlab.vm.accelerator import Acceleration, KvmState, acceleration, probe
from osvlab.vm.machine import Accelerator
from osvlab.vm.qemu import QemuMissingError, find_qemu

pytestmark = pytest.mark.qemu


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("OSVLAB_ACCELERATOR", raising=False)


def fake_qemu(folder: Path, script: str) -> Path:
    """A program in QEMU's place that does what a QEMU on another host does."""
    program = folder / "qemu"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_the_probe_itself_runs_where_guests_run(tmp_path: Path) -> None:
    kernel = tmp_path / "probe"
    kernel.write_bytes(probe_elf())
    command = [
        find_qemu(), "-M", "microvm,x-option-roms=off,acpi=off", "-accel", "tcg,tb-size=16", "-cpu", "max",
        "-m", "16M", "-nodefaults", "-no-reboot", "-display", "none", "-kernel", kernel,
        "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
    ]  # fmt: skip
    assert subprocess.run(command, timeout=30, check=False).returncode == ARRIVED


def test_the_probe_needs_sse(tmp_path: Path) -> None:
    # With the movq cut out by an invalid instruction it must not arrive.
    movq = b"\x66\x48\x0f\x6e\xc0"
    assert probe_elf().count(movq) == 1
    kernel = tmp_path / "probe"
    kernel.write_bytes(probe_elf().replace(movq, b"\x0f\x0b\x90\x90\x90"))
    command = [
        find_qemu(), "-M", "microvm,x-option-roms=off,acpi=off", "-accel", "tcg,tb-size=16", "-cpu", "max",
        "-m", "16M", "-nodefaults", "-no-reboot", "-display", "none", "-kernel", kernel,
        "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
    ]  # fmt: skip
    assert subprocess.run(command, timeout=30, check=False).returncode != ARRIVED


def test_absent(tmp_path: Path) -> None:
    found = acceleration(tmp_path / "kvm")
    assert found.kvm is KvmState.ABSENT
    assert found.best is Accelerator.TCG
    assert "modprobe" in str(found.hint)


def test_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may open everything, so the refusal comes from the call.
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(accelerator.os, "open", refuse)
    found = acceleration(tmp_path / "kvm")
    assert found.kvm is KvmState.FORBIDDEN
    assert found.best is Accelerator.TCG
    assert "usermod" in str(found.hint)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_forbidden_by_mode(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.touch(mode=0)
    assert acceleration(device).kvm is KvmState.FORBIDDEN


@pytest.mark.parametrize(
    ("script", "evidence"),
    [
        ("echo 'KVM internal error. Suberror: 1' >&2; exec sleep 60", "KVM internal error"),
        ("exec sleep 60", "hung"),
        ("echo 'warning: no pni' >&2; echo 'error: failed to set MSR 0x10a' >&2; kill -ABRT $$", "MSR"),
        ("exit 0", "status 0"),
    ],
)
def test_opens_but_does_not_run_guests(tmp_path: Path, script: str, evidence: str) -> None:
    found = probe(fake_qemu(tmp_path, script), deadline=1.0)
    assert found.kvm is KvmState.BROKEN
    assert evidence in found.detail
    assert found.best is Accelerator.TCG


def test_works(tmp_path: Path) -> None:
    found = probe(fake_qemu(tmp_path, f"exit {ARRIVED}"))
    assert found == Acceleration(KvmState.WORKS, "the probe ran")
    assert found.best is Accelerator.KVM
    assert found.hint is None


def test_the_real_one_says_something_definite() -> None:
    found = acceleration()
    assert found.kvm in KvmState
    assert found.detail


def test_remembered_until_qemu_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "kvm"
    device.touch()
    program = fake_qemu(tmp_path, f"echo x >> {tmp_path}/runs; exit {ARRIVED}")
    monkeypatch.setenv("OSVLAB_QEMU", str(program))

    def runs() -> int:
        return len((tmp_path / "runs").read_text().splitlines())

    assert acceleration(device).best is Accelerator.KVM
    assert acceleration(device).best is Accelerator.KVM
    assert runs() == 1
    cache = cache_dir() / "accelerator.json"
    for damaged in (
        "",
        "{",
        "[]",
        '{"key": 1}',
        json.dumps({**json.loads(cache.read_text()), "kvm": "maybe"}),
    ):
        cache.write_text(damaged)
        assert acceleration(device).best is Accelerator.KVM
    assert runs() == 6
    fake_qemu(tmp_path, "exit 1").touch()
    assert acceleration(device).best is Accelerator.TCG


def test_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSVLAB_ACCELERATOR", "kvm")
    assert acceleration().best is Accelerator.KVM
    monkeypatch.setenv("OSVLAB_ACCELERATOR", "tcg")
    assert acceleration().best is Accelerator.TCG
    monkeypatch.setenv("OSVLAB_ACCELERATOR", "xen")
    with pytest.raises(OsvlabError, match="xen"):
        acceleration()


def test_without_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.delenv("OSVLAB_QEMU", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QemuMissingError):
        acceleration(device)


def test_a_home_that_cannot_be_written_to_costs_no_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    asked: list[Path] = []

    def probe(qemu: Path) -> Acceleration:
        asked.append(qemu)
        return Acceleration(KvmState.WORKS, "made up")

    monkeypatch.setattr(accelerator, "probe", probe)
    assert accelerator._remembered(Path("/bin/sh")).kvm is KvmState.WORKS
    assert asked == [Path("/bin/sh")]
