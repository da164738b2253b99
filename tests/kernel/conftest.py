"""The runtime, built once for the tests of a session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kernel.runtime import Runtime, build_runtime


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    return build_runtime((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "runtime-build")


@pytest.fixture
def runtime(built: Path, tmp_path: Path) -> Runtime:
    return Runtime(built, tmp_path)
