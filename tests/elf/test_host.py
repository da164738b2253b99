"""The host's libraries, found by reading, against the judge: ld.so itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvlab.elf.host import HostLinker
from osvlab.elf.program import Program
from osvlab.errors import OsvlabError
from tests.elf.objects import Objects, by_ld_so, by_osvlab

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
RUNPATH, RPATH = "-Wl,--enable-new-dtags,-rpath,", "-Wl,--disable-new-dtags,-rpath,"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return Objects(tmp_path_factory.mktemp("objects"))


def compare(program: Path) -> dict[str, str | None]:
    """Check that both find the same, and return it."""
    expected = by_ld_so(program)
    found = by_osvlab(program)
    assert found == expected
    return found


@pytest.mark.parametrize("name", ["bash", "python3", "git", "perl", "tar", "curl", "openssl"])
def test_programs_of_this_host(name: str) -> None:
    path = Path("/usr/bin", name)
    if not path.exists():
        pytest.skip(f"no {path}")
    compare(path)


def test_origin_and_lib(objects: Objects, tmp_path: Path) -> None:
    one = objects.library(tmp_path / "app/lib/libone.so")
    two = objects.library(tmp_path / "app/lib/x86_64-linux-gnu/libtwo.so")
    program = objects.program(
        tmp_path / "app/bin/p", [one, two], f"{RUNPATH}$ORIGIN/../lib:${{ORIGIN}}/../$LIB"
    )
    assert compare(program)["libtwo.so"] is not None


def test_a_program_behind_a_link_is_where_the_link_leads_but_a_library_is_not(
    objects: Objects, tmp_path: Path
) -> None:
    inner = objects.library(tmp_path / "real/libinner.so")
    outer = objects.library(
        tmp_path / "real/libouter.so", [inner], "-rpath", "$ORIGIN", "--enable-new-dtags"
    )
    (tmp_path / "links").mkdir()
    (tmp_path / "links/libouter.so").symlink_to(outer)
    program = objects.program(tmp_path / "bin/p", [outer], f"{RUNPATH}$ORIGIN/../links")
    (tmp_path / "p").symlink_to(program)
    found = compare(tmp_path / "p")
    assert found["libouter.so"] is not None
    assert found["libinner.so"] is None


def test_rpath_is_inherited_and_runpath_is_not(objects: Objects, tmp_path: Path) -> None:
    inner = objects.library(tmp_path / "inner/libinner.so")
    outer = objects.library(tmp_path / "outer/libouter.so", [inner])
    both = f"{tmp_path}/outer:{tmp_path}/inner"
    assert compare(objects.program(tmp_path / "old", [outer], RPATH + both))["libinner.so"] is not None
    assert compare(objects.program(tmp_path / "new", [outer], RUNPATH + both))["libinner.so"] is None
    objects.library(outer, [inner], "--enable-new-dtags", "-rpath", "/nowhere")
    assert compare(objects.program(tmp_path / "old", [outer], RPATH + both))["libinner.so"] is None


def test_a_file_for_another_machine_is_passed_over(objects: Objects, tmp_path: Path) -> None:
    library = objects.library(tmp_path / "good/libx.so")
    (tmp_path / "bad").mkdir()
    data = bytearray(library.read_bytes())
    data[18] = 183
    (tmp_path / "bad/libx.so").write_bytes(data)
    program = objects.program(tmp_path / "p", [library], f"{RUNPATH}{tmp_path}/bad:{tmp_path}/good")
    assert compare(program)["libx.so"] == str(library)
    library.unlink()
    looked: list[tuple[str, str]] = []
    linker = HostLinker()
    assert linker.find("libx.so", linker.loaded(bytes(program), Program.open(program)), looked) is None
    assert (f"{tmp_path}/bad/libx.so", "for another machine") in looked
    assert (f"{tmp_path}/good", f"RUNPATH of {program}") in looked
    assert ("ld.so.cache", "") in looked


def test_without_the_systems_folders(objects: Objects, tmp_path: Path) -> None:
    program = objects.program(tmp_path / "p", [], "-Wl,-z,nodefaultlib")
    assert compare(program)["libc.so.6"] is None


def test_a_name_with_a_slash_is_a_path(
    objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    objects.library(tmp_path / "libx.so", soname="")
    program = objects.program(tmp_path / "p", [Path("libx.so")])
    assert Program.open(program).needed[0] == "libx.so"
    library = objects.library(tmp_path / "sub/liby.so", soname="")
    program = objects.program(tmp_path / "p", [Path("sub/liby.so")])
    assert by_osvlab(program)["sub/liby.so"] == "sub/liby.so"
    monkeypatch.chdir(library.parent)
    assert by_osvlab(program)["sub/liby.so"] is None


def test_the_library_path_comes_before_runpath(objects: Objects, tmp_path: Path) -> None:
    first, second = (objects.library(tmp_path / name / "libx.so") for name in ("first", "second"))
    program = objects.program(tmp_path / "p", [first], RUNPATH + str(first.parent))
    found = by_osvlab(program, library_path=[bytes(second.parent)])
    assert found == by_ld_so(program, {"LD_LIBRARY_PATH": str(second.parent)})
    assert found["libx.so"] == str(second)


def test_folders_for_better_cpus_count_when_the_level_is_given(objects: Objects, tmp_path: Path) -> None:
    plain = objects.library(tmp_path / "lib/libx.so")
    better = objects.library(tmp_path / "lib/glibc-hwcaps/x86-64-v2/libx.so")
    best = objects.library(tmp_path / "lib/glibc-hwcaps/x86-64-v4/libx.so")
    program = objects.program(tmp_path / "p", [plain], RUNPATH + str(plain.parent))
    levels = [by_osvlab(program, level=level)["libx.so"] for level in (1, 2, 3, 4)]
    assert levels == [str(plain), str(better), str(better), str(best)]
    said = subprocess.run(
        ["/lib64/ld-linux-x86-64.so.2", "--help"], capture_output=True, text=True, check=True
    )
    supported = [level for level in (2, 3, 4) if f"x86-64-v{level} (supported, searched)" in said.stdout]
    assert by_ld_so(program) == by_osvlab(program, level=max([1, *supported]))
    with pytest.raises(OsvlabError, match="not a level of x86-64: 5"):
        by_osvlab(program, level=5)


def test_folders_for_better_cpus_in_the_cache(objects: Objects, tmp_path: Path) -> None:
    ldconfig = shutil.which("ldconfig") or "/sbin/ldconfig"
    plain = objects.library(tmp_path / "lib/libx.so")
    better = objects.library(tmp_path / "lib/glibc-hwcaps/x86-64-v3/libx.so")
    only = objects.library(tmp_path / "lib/glibc-hwcaps/x86-64-v4/libonly.so")
    (tmp_path / "conf").write_text(f"{tmp_path}/lib\n")
    subprocess.run([ldconfig, "-X", "-i", "-C", tmp_path / "cache", "-f", tmp_path / "conf"], check=True)
    program = objects.program(tmp_path / "p", [plain, only])
    cache = tmp_path / "cache"
    assert by_osvlab(program, cache=cache)["libx.so"] == str(plain)
    assert by_osvlab(program, cache=cache)["libonly.so"] is None
    assert by_osvlab(program, cache=cache, level=3)["libx.so"] == str(better)
    assert by_osvlab(program, cache=cache, level=4)["libonly.so"] == str(only)
    looked: list[tuple[str, str]] = []
    linker = HostLinker(cache=cache)
    linker.find("libonly.so", linker.loaded(bytes(program), Program.open(program)), looked)
    assert (str(only), "not for CPUs of level 1") in looked


def test_without_a_cache_its_configuration_counts(objects: Objects, tmp_path: Path) -> None:
    library = objects.library(tmp_path / "lib/libx.so")
    program = objects.program(tmp_path / "p", [library])
    (tmp_path / "conf").write_text(f"{tmp_path}/lib\n")
    assert by_osvlab(program)["libx.so"] is None
    found = by_osvlab(program, cache=tmp_path / "absent", configuration=tmp_path / "conf")
    assert found["libx.so"] == str(library)


def test_musl_has_folders_of_its_own(objects: Objects, tmp_path: Path) -> None:
    program = objects.program(tmp_path / "p", [], "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
    looked: list[tuple[str, str]] = []
    opened = Program.open(program)
    linker = HostLinker(opened.interpreter)
    assert linker.find("libnowhere.so", linker.loaded(bytes(program), opened), looked) is None
    assert "ld.so.cache" not in dict(looked)


FOLDERS = ("a", "b", "c")
LIBRARIES = ("libp.so", "libq.so", "libr.so", "libs.so")


@st.composite
def trees(draw: st.DrawFn) -> tuple[dict[str, object], ...]:
    """Libraries in some folders each, with needs and folders of their own, in old and new form."""
    paths = st.lists(st.sampled_from([f"$ORIGIN/../{f}" for f in FOLDERS] + ["$ORIGIN"]), max_size=2)
    return tuple(
        {
            "name": name,
            "folders": draw(st.sets(st.sampled_from(FOLDERS), min_size=1)),
            "needs": draw(st.lists(st.sampled_from(LIBRARIES), max_size=2, unique=True)),
            "paths": draw(paths),
            "new": draw(st.booleans()),
        }
        for name in ("main", *LIBRARIES)
    )


@given(tree=trees())
@settings(deadline=None, max_examples=25)
def test_any_tree_is_searched_as_ld_so_does(
    objects: Objects, tmp_path_factory: pytest.TempPathFactory, tree: tuple[dict[str, object], ...]
) -> None:
    top = tmp_path_factory.mktemp("tree")
    stubs = {name: objects.library(top / "stubs" / name) for name in LIBRARIES}
    for library in tree[1:]:
        options = ["--enable-new-dtags" if library["new"] else "--disable-new-dtags"]
        options += [word for path in library["paths"] for word in ("-rpath", path)]  # type: ignore[attr-defined]
        for folder in library["folders"]:  # type: ignore[attr-defined]
            needs = [stubs[name] for name in library["needs"] if name != library["name"]]  # type: ignore[attr-defined]
            objects.library(top / folder / str(library["name"]), needs, *options)
    main = tree[0]
    dtags = RUNPATH if main["new"] else RPATH
    options = [dtags + ":".join(main["paths"])] if main["paths"] else []  # type: ignore[arg-type]
    program = objects.program(top / "a/main", [stubs["libp.so"], stubs["libq.so"]], *options)

    def real(found: dict[str, str | None]) -> dict[str, str | None]:
        return {name: path and os.path.normpath(path) for name, path in found.items()}

    assert real(by_osvlab(program)) == real(by_ld_so(program))
