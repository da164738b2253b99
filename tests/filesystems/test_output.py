from __future__ import annotations

import errno
import io
import os
import tempfile
from pathlib import Path

import pytest

from osvlab.errors import OsvlabError
from osvlab.filesystems.output import Output
from osvlab.filesystems.tree import HostFile

SIZE = 2_500_001


def source(path: Path) -> HostFile:
    path.write_bytes(os.urandom(SIZE))
    return HostFile(os.fsencode(path), SIZE)


def written(file: HostFile, folder: Path) -> bytes:
    with open(folder / "out", "wb", buffering=0) as stream:
        output = Output(stream)
        output.write(b"before")
        output.copy(file)
        output.write(b"after")
        output.flush()
        assert output.written == 6 + file.size + 5
    return (folder / "out").read_bytes()


def expected(file: HostFile) -> bytes:
    return b"before" + Path(os.fsdecode(file.path)).read_bytes() + b"after"


def test_from_another_filesystem(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        file = source(Path(other) / "f")
        assert written(file, tmp_path) == expected(file)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_host_that_cannot_copy_inside_its_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    file = source(tmp_path / "f")
    assert written(file, tmp_path) == expected(file)


def test_a_host_that_stops_copying_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, calls = os.copy_file_range, iter([1_000_000, 0])
    monkeypatch.setattr(os, "copy_file_range", lambda fd, out, *_: (n := next(calls)) and copy(fd, out, n))
    file = source(tmp_path / "f")
    assert written(file, tmp_path) == expected(file)


def test_other_errors_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "copy_file_range", fail)
    with pytest.raises(OSError, match=r"Input/output error"):
        written(source(tmp_path / "f"), tmp_path)


def test_a_large_file_that_shrank(tmp_path: Path) -> None:
    file = source(tmp_path / "f")
    os.truncate(file.path, SIZE - 1)
    with pytest.raises(
        OsvlabError, match=rf"f changed while it was read: it was {SIZE} bytes long and is {SIZE - 1}"
    ):
        written(file, tmp_path)


def test_a_stream_that_takes_little_at_a_time() -> None:
    class Slow(io.BytesIO):
        def write(self, data: memoryview) -> int:  # type: ignore[override]
            return super().write(data[:1000])

    stream = Slow()
    output = Output(stream)
    pieces = [os.urandom(size) for size in (1, 300_000, 5, 262_144, 262_143, 7)]
    for piece in pieces:
        output.write(piece)
    output.flush()
    assert stream.getvalue() == b"".join(pieces)
