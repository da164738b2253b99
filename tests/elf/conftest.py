from __future__ import annotations

import pytest

from tests.elf.programs import compiled_once


@pytest.fixture
def hello(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return compiled_once(tmp_path_factory.getbasetemp())
