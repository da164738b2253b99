from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvlab import paths
from osvlab.errors import OsvlabError


def test_cache_dir_is_made_for_this_user_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    folder = paths.cache_dir("images", "one")
    assert folder == tmp_path / "c/osvlab/images/one"
    assert folder.is_dir()
    assert stat.S_IMODE((tmp_path / "c/osvlab").stat().st_mode) == 0o700


def test_a_relative_xdg_folder_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.cache_dir() == tmp_path / ".cache/osvlab"


def test_runtime_dir_falls_back_to_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = paths.runtime_dir("vm")
    assert folder == tmp_path / f"osvlab-{os.getuid()}" / "vm"
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_runtime_dir_refuses_a_link_somebody_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"osvlab-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OsvlabError, match="not a folder of this user"):
        paths.runtime_dir()


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OsvlabError, match=r"cannot create the folder .*file/osvlab"):
        paths.cache_dir()


def test_replacing_swaps_the_whole_file_in(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    target.chmod(0o640)
    with paths.replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_replacing_leaves_nothing_behind_on_failure(tmp_path: Path) -> None:
    target = tmp_path / "file"

    def interrupted() -> None:
        with paths.replacing(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_replacing_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    with paths.replacing(tmp_path / "link") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "x"


def test_replacing_respects_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with paths.replacing(tmp_path / "file"):
            pass
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent/file", "no such folder: .*absent"), ("", "a folder"), ("/dev/null", "a character device")],
)
def test_replacing_refuses_by_name(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(OsvlabError, match=message), paths.replacing(tmp_path / name):
        pass


@given(st.integers(0, 1 << 50))
def test_plain_sizes_round_trip(size: int) -> None:
    assert paths.parse_size(str(size)) == size
    assert paths.parse_size(f"{size} KiB") == size << 10


@given(st.integers(0, 1 << 45))
def test_written_sizes_are_near(size: int) -> None:
    number, unit = paths.format_size(size).split()
    scale = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[unit]
    assert abs(float(number) * scale - size) <= 0.05 * scale + 1
    assert float(number) < 1024 or unit == "TiB"


@pytest.mark.parametrize("text", ["", "M", "-1", "64X", "1.5", "0.3K", "64 M B", "1e6"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|bytes"):
        paths.parse_size(text)


@pytest.mark.parametrize("text", ["9" * 5000, "1." + "0" * 5000, "9" * 400])
def test_a_size_of_many_digits_is_none(text: str) -> None:
    with pytest.raises(paths.SizeError, match="not a size") as caught:
        paths.parse_size(text)
    assert len(caught.value.message) < 100


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user id that nobody has
    with pytest.raises(OsvlabError, match="no home directory"):
        paths.cache_dir()


@pytest.mark.parametrize("unnamed", [True, False])
def test_replacing_leaves_nothing_behind_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unnamed: bool
) -> None:
    if not unnamed:  # as on a network's filesystem
        real = os.open

        def refusing(path: object, flags: int, *rest: int) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported")
            return real(path, flags, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "open", refusing)

    def half() -> None:
        with paths.replacing(tmp_path / "file") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert list(tmp_path.iterdir()) == []
    with paths.replacing(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]


def test_what_holds_no_bytes_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe"):
        paths.open_bytes(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a character device"):
        paths.open_bytes("/dev/zero")
    with pytest.raises(IsADirectoryError):
        paths.open_bytes(tmp_path)
