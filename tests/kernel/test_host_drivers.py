"""The drivers' logic on the host under the sanitizers: virtqueues, partitions, ACPI, the report's text."""

from __future__ import annotations

from pathlib import Path

from tests.kernel import host


def test_virtqueue_exchanges_with_good_broken_and_hostile_devices(tmp_path: Path) -> None:
    sources = ["tests/host/virtqueue_test.c", "drivers/virtqueue.c"]
    assert host.run(host.build(tmp_path / "virtqueue_test", sources)) == "ok\n"


def test_partitions_command_line_report_and_acpi(tmp_path: Path) -> None:
    drivers = ["partition", "virtio_mmio", "virtqueue", "report", "acpi"]
    sources = ["tests/host/drivers_test.c", "boot/print.c", *(f"drivers/{name}.c" for name in drivers)]
    program = host.build(tmp_path / "drivers_test", sources, ["-iquote", "tests/host/ports"])
    assert host.run(program) == "ok\n"
