"""Recipes of programs that are made for the purpose: what comes along, where it goes, and why."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from osvlab.elf.recognise import NotAProgramError
from osvlab.errors import OsvlabError
from osvlab.filesystems.tree import HostFile, Symlink
from osvlab.image.collection import RecipeError
from osvlab.image.preflight import preflight
from osvlab.image.recipe import Recipe
from osvlab.kernels import Kernel, KernelKind
from osvlab.paths import PathNotFoundError
from tests.elf.objects import Objects

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
RUNPATH, RPATH = "-Wl,--enable-new-dtags,-rpath,", "-Wl,--disable-new-dtags,-rpath,"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return Objects(tmp_path_factory.mktemp("objects"))


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return tmp_path


def files(recipe: Recipe) -> set[str]:
    """Return what is in the tree besides directories and what every guest has."""
    found = {os.fsdecode(path) for path, node in recipe.tree.walk() if isinstance(node, HostFile | Symlink)}
    return found - {"/etc/mnttab", "/etc/resolv.conf"}


def passes(recipe: Recipe, kernel: Kernel) -> None:
    """Check that the guest will find every library, as preflight sees it."""
    assert [problem.text for problem in preflight(recipe, kernel)] == []


# --- libraries ---------------------------------------------------------------------------------------


def test_a_program_that_needs_only_the_kernel(objects: Objects, top: Path, kernel: Kernel) -> None:
    program = objects.program(top / "p")
    recipe = Recipe.from_program(program, kernel=kernel)
    assert recipe.command == f"/host{program}"
    assert files(recipe) == {f"/host{program}"}
    assert recipe.tree.find(b"/host" + bytes(program)) == HostFile.at(program)
    passes(recipe, kernel)


def test_libraries_of_the_system_go_to_usr_lib_with_the_names_they_are_needed_by(
    objects: Objects, top: Path, kernel: Kernel
) -> None:
    real = objects.library(top / "lib/libx.so.1.2", soname="libx.so.1")
    (top / "lib/libx.so.1").symlink_to(real.name)
    deeper = objects.library(top / "lib/liby.so", [real])
    program = objects.program(top / "p", [deeper])
    recipe = Recipe.from_program(program, library_path=[top / "lib"], kernel=kernel)
    assert files(recipe) > {f"/host{top}/lib/{name}" for name in ("libx.so.1", "libx.so.1.2", "liby.so")}
    # The guest has no $LD_LIBRARY_PATH: there, links lead to them.
    assert f"is needed by /host{program}, for which the guest would not find" in recipe.why(
        "/usr/lib/liby.so"
    )
    passes(recipe, kernel)


def test_a_library_of_this_host(kernel: Kernel) -> None:
    try:
        recipe = Recipe.from_program("/usr/bin/env", libraries=["libgcc_s.so.1"], kernel=kernel)
    except RecipeError:
        pytest.skip("no libgcc_s.so.1 here")
    assert recipe.why("/usr/lib/libgcc_s.so.1").endswith("is asked for as a library, found in ld.so.cache")


def test_folders_that_the_program_names_stay_as_they_are(
    objects: Objects, top: Path, kernel: Kernel
) -> None:
    inner = objects.library(top / "app/lib/inner/libinner.so")
    real = objects.library(
        top / "app/lib/libouter.so.1.0", [inner], "--enable-new-dtags", "-rpath", "$ORIGIN/inner"
    )
    (top / "app/lib/libouter.so.1.0").rename(top / "app/lib/libouter-1.0.so")
    (top / "app/lib/libouter.so.1.0").symlink_to("libouter-1.0.so")
    program = objects.program(top / "app/bin/p", [real], f"{RUNPATH}$ORIGIN/../lib")
    recipe = Recipe.from_program(program, kernel=kernel)
    app = f"/host{top}/app"
    names = ("bin/p", "lib/libouter.so.1.0", "lib/libouter-1.0.so", "lib/inner/libinner.so")
    assert files(recipe) == {f"{app}/{name}" for name in names}
    outer = recipe.tree.find(f"{app}/lib/libouter.so.1.0".encode())
    assert isinstance(outer, Symlink)
    assert outer.target == b"libouter-1.0.so"
    reason = recipe.why(f"{app}/lib/libouter.so.1.0")
    assert f"is needed by {app}/bin/p (DT_NEEDED), found by RUNPATH of {app}/bin/p" in reason
    assert f"is needed by {app}/lib/libouter.so.1.0" in recipe.why(f"{app}/lib/inner/libinner.so")
    passes(recipe, kernel)


@pytest.mark.parametrize("token", ["$LIB", "${PLATFORM}"])
def test_what_the_guest_would_not_find_by_itself_gets_a_link(
    objects: Objects, top: Path, kernel: Kernel, token: str
) -> None:
    folder = top / "app" / {"$LIB": "lib/x86_64-linux-gnu", "${PLATFORM}": "x86_64"}[token]
    library = objects.library(folder / "libx.so")
    program = objects.program(top / "app/p", [library], f"{RUNPATH}$ORIGIN/{token}")
    recipe = Recipe.from_program(program, kernel=kernel)
    found = recipe.tree.resolve(b"/usr/lib/libx.so")
    assert found == (f"/host{library}".encode(), HostFile.at(library))
    passes(recipe, kernel)


def test_each_kernel_gets_the_links_it_needs(objects: Objects, top: Path, kernel: Kernel) -> None:
    """OSv does not inherit RPATH, and looks for $ORIGIN behind links; the lab kernel does the opposite."""
    osv = Kernel(kernel.path, KernelKind.OSV, kernel.boot, None)
    inner = objects.library(top / "lib/libinner.so")
    outer = objects.library(top / "lib/libouter.so", [inner])
    objects.program(top / "bin/p", [outer], f"{RPATH}$ORIGIN/../lib")
    (top / "p").symlink_to("bin/p")
    straight = {k: Recipe.from_program(top / "bin/p", kernel=k) for k in (kernel, osv)}
    linked = {k: Recipe.from_program(top / "p", kernel=k) for k in (kernel, osv)}
    links = {
        name: {path for path in files(recipe) if path.startswith("/usr/lib")}
        for name, recipe in zip("abcd", (*straight.values(), *linked.values()), strict=True)
    }
    both = {"/usr/lib/libinner.so", "/usr/lib/libouter.so"}
    assert links == {"a": set(), "b": {"/usr/lib/libinner.so"}, "c": both, "d": {"/usr/lib/libinner.so"}}
    for recipes in (straight, linked):
        for own, recipe in recipes.items():
            passes(recipe, own)


def test_libraries_that_need_each_other(objects: Objects, top: Path, kernel: Kernel) -> None:
    first = objects.library(top / "liba.so")
    second = objects.library(top / "libb.so", [first])
    objects.library(first, [second])
    program = objects.program(top / "p", [first], RUNPATH + str(top), "-Wl,-rpath-link," + str(top))
    recipe = Recipe.from_program(program, library_path=[top], kernel=kernel)
    assert {f"/host{top}/liba.so", f"/host{top}/libb.so"} <= files(recipe)
    passes(recipe, kernel)


def test_a_library_by_a_path_of_its_own(
    objects: Objects, top: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = objects.library(top / "sub/libx.so", soname="")
    program = objects.program(top / "p", [library])
    recipe = Recipe.from_program(program, kernel=kernel)
    assert f"/host{library}" in files(recipe)
    assert "found by its own path" in recipe.why(f"/host{library}")
    # The guest would look where it is here, below /tmp.
    (problem,) = preflight(recipe, kernel)
    assert str(library) in problem.text


def test_missing_libraries_are_all_named_with_who_needs_them_and_where_was_looked(
    objects: Objects, top: Path, kernel: Kernel
) -> None:
    gone = [objects.library(top / f"lib{name}.so") for name in "ab"]
    middle = objects.library(top / "libmiddle.so", gone)
    program = objects.program(top / "p", [gone[0], middle], f"{RUNPATH}$ORIGIN:/nowhere")
    for path in gone:
        path.unlink()
    with pytest.raises(RecipeError) as caught:
        Recipe.from_program(program, kernel=kernel)
    first, second = caught.value.message.splitlines()[1:]
    place = f"/host{program}"
    assert f"liba.so, needed by {place} and 1 more; looked in {top}, /nowhere (RUNPATH of {place})" in first
    assert f"libb.so, needed by /host{middle}; looked in ld.so.cache, " in second
    assert "library_path=" in str(caught.value)


def test_a_long_list_is_cut(objects: Objects, top: Path, kernel: Kernel) -> None:
    gone = [objects.library(top / f"lib{number}.so") for number in range(25)]
    program = objects.program(top / "p", gone, RUNPATH + ":".join(f"/no/{number}" for number in range(30)))
    for path in gone:
        path.unlink()
    with pytest.raises(RecipeError) as caught:
        Recipe.from_program(program, kernel=kernel)
    lines = caught.value.message.splitlines()
    assert lines[-1] == "  and 5 more"
    assert len(lines) == 22
    assert "/no/19" in lines[1]
    assert "/no/20" not in lines[1]
    assert "more" in lines[1]


def test_a_library_that_is_none(objects: Objects, top: Path, kernel: Kernel) -> None:
    library = objects.library(top / "libx.so")
    program = objects.program(top / "p", [library], f"{RUNPATH}$ORIGIN")
    library.write_text("GROUP ( libx.so.1 )\n")
    with pytest.raises(RecipeError, match=r"libx.so is no program: .*; it is needed by .*/p"):
        Recipe.from_program(program, kernel=kernel)


def test_libraries_for_better_cpus(objects: Objects, top: Path, kernel: Kernel) -> None:
    plain = objects.library(top / "libx.so")
    better = objects.library(top / "glibc-hwcaps/x86-64-v2/libx.so")
    program = objects.program(top / "p", [plain], f"{RUNPATH}$ORIGIN")
    assert f"/host{better}" not in files(Recipe.from_program(program, kernel=kernel))
    recipe = Recipe.from_program(program, level=2, kernel=kernel)
    assert f"/host{better}" in files(recipe)
    assert recipe.tree.resolve(b"/usr/lib/libx.so") == (f"/host{better}".encode(), HostFile.at(better))
    plain.unlink()
    with pytest.raises(RecipeError, match=r"missing library: libx.so"):
        Recipe.from_program(program, kernel=kernel)


def test_a_library_that_the_guest_would_take_from_elsewhere(
    objects: Objects, top: Path, kernel: Kernel
) -> None:
    library = objects.library(top / "lib/libx.so")
    other = objects.library(top / "other/libx.so", [], "-rpath", "/other")
    program = objects.program(top / "p", [library])
    with pytest.raises(
        RecipeError, match=r"libx.so, needed by .*/p, is .*lib/libx.so on this host, and the guest"
    ):
        Recipe.from_program(
            program, library_path=[library.parent], data={"/usr/lib/libx.so": other}, kernel=kernel
        )


# --- static programs, data, what is opened later --------------------------------------------------------


@pytest.mark.parametrize("option", ["-static", "-static-pie"])
def test_a_static_program_is_just_its_file(top: Path, kernel: Kernel, option: str) -> None:
    command = ["gcc", "-x", "c", "-", option, "-o", str(top / "p")]
    subprocess.run(command, input=b"int main(void) { return 0; }", check=True, timeout=60)
    recipe = Recipe.from_program(top / "p", kernel=kernel)
    assert files(recipe) == {f"/host{top}/p"}
    passes(recipe, kernel)
    # Its own linker finds what the kernel supplies to others.
    opened = Recipe.from_program(top / "p", libraries=["libm.so.6"], kernel=kernel)
    assert {"/usr/lib/libm.so.6", "/usr/lib/libc.so.6"} <= files(opened)


def test_what_is_opened_by_name_or_path(objects: Objects, top: Path, kernel: Kernel) -> None:
    deeper = objects.library(top / "lib/libdeeper.so")
    named = objects.library(top / "lib/libnamed.so", [deeper])
    plugin = objects.library(top / "plugins/one.so", [deeper])
    program = objects.program(top / "p", [], f"{RPATH}$ORIGIN/lib")
    recipe = Recipe.from_program(
        program, libraries=["libnamed.so", f"{top}/plugins/*.so", "libc.so.6"], kernel=kernel
    )
    assert files(recipe) == {f"/host{path}" for path in (program, named, deeper, plugin)}
    assert "is asked for as a library, found by RPATH of" in recipe.why(f"/host{named}")
    assert f"is asked for as a library: {top}/plugins/*.so" in recipe.why(f"/host{plugin}")
    with pytest.raises(RecipeError, match=r"missing library: libno.so, asked for as a library; looked in"):
        Recipe.from_program(program, libraries=["libno.so"], kernel=kernel)


def test_what_is_opened_gets_links_too(objects: Objects, top: Path, kernel: Kernel) -> None:
    first = objects.library(top / "lib/libfirst.so")
    named = objects.library(top / "lib/libnamed.so")
    second = objects.library(top / "app/lib/x86_64-linux-gnu/libsecond.so")
    module = objects.library(
        top / "app/module.so", [first, second], "-rpath", "$ORIGIN/$LIB", "--enable-new-dtags"
    )
    program = objects.program(top / "p")
    recipe = Recipe.from_program(
        program, libraries=["libnamed.so"], data=[module], library_path=[top / "lib"], kernel=kernel
    )
    for library in (first, named, second):
        link = recipe.tree.resolve(b"/usr/lib/" + bytes(Path(library.name)))
        assert link == (f"/host{library}".encode(), HostFile.at(library))


def test_programs_and_libraries_among_the_data_bring_what_they_need(
    objects: Objects, top: Path, kernel: Kernel
) -> None:
    library = objects.library(top / "lib/libx.so")
    helper = objects.program(top / "data/helper", [library], f"{RUNPATH}$ORIGIN/../lib")
    module = objects.library(
        top / "data/module.so", [library], "-rpath", "$ORIGIN/../lib", "--enable-new-dtags"
    )
    (top / "data/damaged.so").write_bytes(b"\x7fELF")
    shutil.copy(objects.folder / "main.o", top / "data/object.o")
    program = objects.program(top / "p")
    recipe = Recipe.from_program(program, data=[top / "data"], kernel=kernel)
    assert {f"/host{path}" for path in (library, helper, module)} <= files(recipe)
    assert f"is needed by /host{helper}" in recipe.why(f"/host{library}")
    assert "is asked for as data" in recipe.why(f"/host{helper}")
    library.unlink()
    with pytest.raises(RecipeError, match=r"missing library: libx.so, needed by .*data/helper and 1 more"):
        Recipe.from_program(program, data=[top / "data"], kernel=kernel)
    recipe = Recipe.from_program(
        program, data=[top / "data"], exclude=["helper", "module.so"], kernel=kernel
    )
    assert f"/host{top}/data/damaged.so" in files(recipe)


def test_a_module_may_need_one_that_is_opened_before_it(objects: Objects, top: Path, kernel: Kernel) -> None:
    """As in Java: libjava.so needs libjvm.so, which lies elsewhere and has been loaded by its path."""
    first = objects.library(top / "data/deep/libfirst.so")
    objects.library(top / "data/second.so", [first])
    recipe = Recipe.from_program(objects.program(top / "p"), data=[top / "data"], kernel=kernel)
    assert f"/host{top}/data/second.so" in files(recipe)
    program = objects.program(top / "q", [first])
    with pytest.raises(RecipeError, match=r"missing library: libfirst.so"):
        Recipe.from_program(program, data=[top / "data"], kernel=kernel)


# --- which program --------------------------------------------------------------------------------------


def test_a_program_by_its_name(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, objects: Objects, top: Path
) -> None:
    objects.program(top / "tool")
    monkeypatch.setenv("PATH", str(top))
    assert Recipe.from_program("tool", kernel=kernel).command == f"/host{top}/tool"
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(top)
    with pytest.raises(PathNotFoundError, match=r"no such program in \$PATH: tool") as caught:
        Recipe.from_program("tool", kernel=kernel)
    assert caught.value.hint == "Write ./tool."
    assert Recipe.from_program("./tool", kernel=kernel).command == f"/host{top}/tool"


def test_arguments_reach_it_unchanged(objects: Objects, top: Path, kernel: Kernel) -> None:
    program = objects.program(top / "p")
    recipe = Recipe.from_program(program, ["two words", 'a "quote"', ";", ""], kernel=kernel)
    assert recipe.command == f'/host{program} "two words" "a \\"quote\\"" ";" ""'
    with pytest.raises(RecipeError, match=r"'\$HOME' would be in the guest's command"):
        Recipe.from_program(program, ["$HOME"], kernel=kernel)
    other = Recipe.from_program(program, command=f"/host{program} $HOME; /x", kernel=kernel)
    assert other.command == f"/host{program} $HOME; /x"


def test_a_script_brings_what_reads_it(objects: Objects, top: Path, kernel: Kernel) -> None:
    library = objects.library(top / "libx.so")
    reader = objects.program(top / "reader", [library], f"{RUNPATH}$ORIGIN")
    (top / "inner").write_text(f"#!{reader} -x\n")
    (top / "script").write_text(f"#!{top}/inner\n")
    recipe = Recipe.from_program(top / "script", ["word"], kernel=kernel)
    place = f"/host{top}"
    assert recipe.command == f"{place}/reader -x {place}/inner {place}/script word"
    assert f"reads the script {place}/script (#!{top}/inner)" in recipe.why(f"{place}/inner")
    assert f"reads the script {place}/inner (#!{reader} -x)" in recipe.why(f"{place}/reader")
    assert f"{place}/libx.so" in files(recipe)
    passes(recipe, kernel)


def test_a_script_that_reads_itself(top: Path, kernel: Kernel) -> None:
    (top / "script").write_text(f"#!{top}/script\n")
    with pytest.raises(RecipeError, match=r"is a script for a script, and so on"):
        Recipe.from_program(top / "script", kernel=kernel)


def test_what_is_no_program(
    objects: Objects, top: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path | str, kind: type[OsvlabError] = RecipeError) -> str:
        with pytest.raises(kind) as caught:
            Recipe.from_program(path, kernel=kernel)
        return str(caught.value)

    assert "is a folder, not a program" in refused(top)
    monkeypatch.chdir(top.parent)
    assert "is a folder, not a program" in refused(top.name)  # which is in no folder of $PATH
    assert "no such program: ''" in refused("", PathNotFoundError)
    assert "no such program: " in refused(top / "absent", PathNotFoundError)
    assert "libraries=[...]" in refused(objects.library(top / "libx.so"))
    (top / "text").write_text("hello")
    assert "is no program" in refused(top / "text", NotAProgramError)
    data = bytearray(objects.program(top / "p").read_bytes())
    data[18] = 183
    (top / "arm").write_bytes(data)
    assert "is a program for 64-bit ARM" in refused(top / "arm", NotAProgramError)
    (top / "cut").write_bytes(data[:100])
    assert "is truncated" in refused(top / "cut", NotAProgramError)
    (top / "loop").symlink_to("loop")
    assert "no such program" in refused(top / "loop", PathNotFoundError)
    os.mkfifo(top / "fifo")
    assert "it is a pipe" in refused(top / "fifo")
    assert "it is a character device" in refused("/dev/null")


@pytest.mark.parametrize("what", ["exclude", "libraries", "arguments", "library_path"])
def test_a_text_is_no_list(objects: Objects, top: Path, kernel: Kernel, what: str) -> None:
    with pytest.raises(RecipeError, match=f"{what} is a list, not 'text'"):
        Recipe.from_program(objects.program(top / "p"), kernel=kernel, **{what: "text"})  # type: ignore[arg-type]


def test_nothing_is_run(top: Path, kernel: Kernel) -> None:
    """A program may name any linker, which `ldd` would run."""
    (top / "linker").write_text(f"#!/bin/sh\ntouch {top}/ran\n")
    (top / "linker").chmod(0o755)
    command = ["gcc", "-x", "c", "-", f"-Wl,--dynamic-linker={top}/linker", "-o", str(top / "p")]
    subprocess.run(command, input=b"int main(void) { return 0; }", check=True, timeout=60)
    Recipe.from_program(top / "p", kernel=kernel)
    assert not (top / "ran").exists()


def test_the_same_call_gives_the_same_recipe(objects: Objects, top: Path, kernel: Kernel) -> None:
    library = objects.library(top / "lib/libx.so")
    program = objects.program(top / "p", [library], f"{RUNPATH}$ORIGIN/lib")
    first, second = (Recipe.from_program(program, data=[top / "lib"], kernel=kernel) for _ in range(2))
    assert first == second
    assert first.reasons == second.reasons
