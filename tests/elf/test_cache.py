from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvlab.elf.cache import (
    CacheEntry,
    CacheError,
    default_folders,
    musl_folders,
    read_cache,
    read_configuration,
)
from tests.elf.objects import Objects

LDCONFIG = shutil.which("ldconfig") or "/sbin/ldconfig"
needs_ldconfig = pytest.mark.skipif(
    not Path(LDCONFIG).exists() or shutil.which("gcc") is None, reason="needs ldconfig and gcc"
)


def listed(*arguments: str | Path) -> str:
    return subprocess.run([LDCONFIG, *arguments], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libraries, one also for other CPUs, and caches of it in three formats."""
    folder = tmp_path_factory.mktemp("cache")
    objects = Objects(folder / "objects")
    for name in (
        "libone.so.1",
        "libtwo.so",
        "glibc-hwcaps/x86-64-v2/libtwo.so",
        "glibc-hwcaps/x86-64-v4/libtwo.so",
    ):
        objects.library(folder / "lib" / name)
    (folder / "ld.so.conf").write_text(f"{folder}/lib\n")
    for kind in ("new", "compat", "old"):
        listed("-X", "-i", "-c", kind, "-C", folder / kind, "-f", folder / "ld.so.conf")
    return folder


@needs_ldconfig
def test_the_hosts_own_cache_reads_as_ldconfig_prints_it() -> None:
    printed = re.findall(r"^\t(\S+) \(libc6,x86-64\) => (\S+)$", listed("-p"), re.MULTILINE)
    entries = read_cache()
    assert entries is not None
    assert [
        (entry.name.decode(), entry.path.decode()) for entry in entries if entry.hwcaps is None
    ] == printed


@needs_ldconfig
@pytest.mark.parametrize("kind", ["new", "compat"])
def test_a_cache_with_libraries_for_other_cpus(made: Path, kind: str) -> None:
    entries = read_cache(made / kind)
    assert entries is not None
    ours = {entry for entry in entries if entry.path.startswith(bytes(made))}
    lib = bytes(made / "lib")
    assert ours == {
        CacheEntry(b"libone.so.1", lib + b"/libone.so.1"),
        CacheEntry(b"libtwo.so", lib + b"/libtwo.so"),
        CacheEntry(b"libtwo.so", lib + b"/glibc-hwcaps/x86-64-v2/libtwo.so", b"x86-64-v2"),
        CacheEntry(b"libtwo.so", lib + b"/glibc-hwcaps/x86-64-v4/libtwo.so", b"x86-64-v4"),
    }


@needs_ldconfig
def test_entries_for_features_of_old_are_passed_over(made: Path, tmp_path: Path) -> None:
    data = bytearray((made / "new").read_bytes())
    (count,) = struct.unpack_from("<I", data, 20)
    for index in range(count):
        struct.pack_into("<Q", data, 48 + 24 * index + 16, 1 << 52)
    (tmp_path / "legacy").write_bytes(data)
    assert read_cache(tmp_path / "legacy") == []


@needs_ldconfig
def test_a_cache_of_the_oldest_format_is_refused(made: Path) -> None:
    with pytest.raises(CacheError, match=r"old is damaged, or no cache of ld.so") as caught:
        read_cache(made / "old")
    assert "ldconfig" in str(caught.value)


def test_no_cache_is_none(tmp_path: Path) -> None:
    assert read_cache(tmp_path / "absent") is None
    with pytest.raises(CacheError, match=r"cannot read .*: Is a directory"):
        read_cache(tmp_path)


@needs_ldconfig
@pytest.mark.parametrize("length", [0, 10, 47, 100, 2000])
def test_a_cache_that_is_cut_off(made: Path, tmp_path: Path, length: int) -> None:
    (tmp_path / "cut").write_bytes((made / "new").read_bytes()[:length])
    with pytest.raises(CacheError, match=r"cut is damaged"):
        read_cache(tmp_path / "cut")


@needs_ldconfig
@given(data=st.data())
@settings(deadline=2000, max_examples=200)
def test_damage_is_an_error_or_harmless(
    made: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    image = bytearray((made / "new").read_bytes())
    (extensions,) = struct.unpack_from("<I", image, 32)
    at = st.one_of(
        st.integers(0, 200), st.integers(extensions, extensions + 60), st.integers(0, len(image) - 1)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(at) % len(image)] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(image)
    try:
        entries = read_cache(path)
    except CacheError:
        return
    assert entries is not None


def test_a_configuration_includes_others_in_their_place_and_itself_once(tmp_path: Path) -> None:
    (tmp_path / "main").write_text(
        "/first\ninclude more/*.conf main\n# /comment\n/last/ # why\n/first\nrelative\n"
    )
    (tmp_path / "more").mkdir()
    (tmp_path / "more/b.conf").write_text("/b=libc6\n")
    (tmp_path / "more/a.conf").write_text(f"hwcap 0 x\n\tinclude {tmp_path}/more/*.conf\n/a\n")
    assert read_configuration(tmp_path / "main") == [b"/first", b"/b", b"/a", b"/last"]
    assert read_configuration(tmp_path / "absent") == []


def test_the_last_folders_follow_from_where_ld_so_is(tmp_path: Path) -> None:
    (tmp_path / "usr/lib64").mkdir(parents=True)
    (tmp_path / "usr/lib64/ld-linux-x86-64.so.2").touch()
    (tmp_path / "lib64").symlink_to("usr/lib64")
    assert default_folders(str(tmp_path / "lib64/ld-linux-x86-64.so.2")) == [b"/lib64", b"/usr/lib64"]


def test_folders_of_musl(tmp_path: Path) -> None:
    (tmp_path / "path").write_text("/one:/two\n/three\n")
    assert musl_folders(tmp_path / "path") == [b"/one", b"/two", b"/three"]
    assert musl_folders(tmp_path / "absent") == [b"/lib", b"/usr/local/lib", b"/usr/lib"]
