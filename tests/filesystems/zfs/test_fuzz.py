"""What parses is fuzzed where atheris is installed: pip install atheris."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = int(float(os.environ.get("OSVLAB_SOAK_SECONDS", "60")))


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("target", ["lists", "packed", "leaves", "dnodes", "turned"])
def test_no_input_breaks_it(target: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    module = [sys.executable, "-m", "tests.filesystems.zfs.fuzz", target]
    limits = [
        f"-max_total_time={SECONDS}",
        "-rss_limit_mb=1024",
        "-timeout=10",
        f"-artifact_prefix={tmp_path}/",
    ]
    ended = subprocess.run([*module, *limits, tmp_path], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
