from __future__ import annotations

from pathlib import Path

import pytest

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import DamagedError
from osvlab.filesystems.byte_range import ByteRange


def test_a_range_never_reads_beyond_its_end(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(range(100)))
    for source in (bytes(range(100)), tmp_path / "f"):
        part = ByteRange(source, 10, 20)
        assert part.length == 20
        assert part.read_at(15, 100) == bytes(range(25, 30))
        assert part.read_at(20, 1) == part.read_at(-1, 5) == part.read_at(1 << 62, 1) == b""
        assert ByteRange(source, 90, 50).length == 10
        assert ByteRange(source, 200).length == 0
        part.close()
        part.close()


def test_what_was_closed_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"data")
    part = ByteRange(tmp_path / "f")
    other = ByteRange(part)
    part.close()
    with pytest.raises(OsvlabError, match="the image was closed") as caught:
        part.read_at(0, 4)
    assert not isinstance(caught.value, DamagedError)
    assert other.read_at(0, 4) == b"data"  # its file is its own


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file: .*absent"):
        ByteRange(tmp_path / "absent")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OsvlabError, match=r"cannot open .*loop: Too many levels"):
        ByteRange(tmp_path / "loop")


def test_only_what_is_no_hole_is_to_be_read(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.seek(1 << 40)
        file.write(b"data")
        file.truncate(3 << 40)
    part = ByteRange(tmp_path / "f", 1 << 30)
    there = (1 << 40) - (1 << 30)
    [(start, end)] = part.data_runs(0, part.length)
    assert start <= there < there + 4 <= end < start + (1 << 20)
    assert list(part.data_runs(there + 1, there + 3)) == [(there + 1, there + 3)]
    assert list(part.data_runs(2 << 40, part.length)) == list(part.data_runs(5, 5)) == []
    (tmp_path / "f").open("r+b").truncate(2 << 40)
    # Zeros are not made up for what was cut off meanwhile: reading it tells.
    assert list(part.data_runs(0, part.length)) == [(0, part.length)]
