from __future__ import annotations

from pathlib import Path

import pytest

from osvlab.filesystems.tree import Content
from osvlab.image.preflight import PreflightError, Problem, check, preflight
from osvlab.image.recipe import Recipe
from osvlab.kernels import Kernel, KernelKind
from tests.image.conftest import Compile

LIBRARY = "extern int deeper(void); int answer(void) { return deeper(); }"
DEEPER = "int deeper(void) { return 42; }"
USER = "extern int answer(void); int main(void) { return answer(); }"


def problems(folder: Path, kernel: Kernel, command: str = "/hello") -> list[Problem]:
    return preflight(Recipe.from_directory(folder, command), kernel)


def texts(folder: Path, kernel: Kernel, command: str = "/hello") -> str:
    return "\n".join(problem.text for problem in problems(folder, kernel, command))


def test_a_program_that_needs_only_the_kernel(app: Path, kernel: Kernel) -> None:
    assert problems(app, kernel) == []
    check(Recipe.from_directory(app), kernel)


def test_a_missing_symbol_is_named_with_who_wants_it(app: Path, kernel: Kernel, compile: Compile) -> None:
    source = "int sqrtl_(void); int fork(void); int main(void) { return sqrtl_() + fork(); }"
    compile(app / "prog", source, "-shared", "-fPIC")
    text = texts(app, kernel, "/prog")
    assert text.startswith("2 missing symbols: ")
    assert "sqrtl_" in text
    assert "fork" in text
    assert "wanted by /prog" in text
    with pytest.raises(PreflightError, match=r"2 missing symbols"):
        check(Recipe.from_directory(app, "/prog"), kernel)


def test_copied_variables_must_be_somewhere_else(app: Path, kernel: Kernel, compile: Compile) -> None:
    source = "#include <stdio.h>\nint main(void) { return stdout == stdin; }"
    compile(app / "prog", source, "-no-pie", "-fno-pic")
    assert "missing symbol: stdin, wanted by /prog" in texts(app, kernel, "/prog")


def test_weak_symbols_may_be_missing(app: Path, kernel: Kernel, compile: Compile) -> None:
    source = "__attribute__((weak)) int maybe(void); int main(void) { return maybe ? maybe() : 0; }"
    compile(app / "prog", source)
    assert problems(app, kernel, "/prog") == []


@pytest.fixture
def with_library(app: Path, compile: Compile) -> Path:
    """/prog needs libanswer.so, which needs libdeeper.so; both are in /usr/lib."""
    lib = app / "usr/lib"
    options = ("-shared", "-fPIC", "-nostdlib")
    compile(lib / "libdeeper.so", DEEPER, *options, "-Wl,-soname,libdeeper.so")
    compile(lib / "libanswer.so", LIBRARY, *options, f"-L{lib}", "-ldeeper", "-Wl,-soname,libanswer.so")
    compile(app / "prog", USER, f"-L{lib}", "-lanswer", f"-Wl,-rpath-link,{lib}")
    return app


def test_libraries_are_found_in_the_image(with_library: Path, kernel: Kernel) -> None:
    assert problems(with_library, kernel, "/prog") == []


def test_a_missing_library_is_named_with_who_wants_it_and_where_it_was_looked_for(
    with_library: Path, kernel: Kernel
) -> None:
    (with_library / "usr/lib/libdeeper.so").unlink()
    (problem,) = problems(with_library, kernel, "/prog")
    assert problem.file == "/usr/lib/libanswer.so"
    assert "missing library: libdeeper.so, wanted by /usr/lib/libanswer.so" in problem.text
    assert "not in /, /usr/lib, /lib, " in problem.text


def test_a_library_behind_a_link_and_in_the_programs_own_folder(
    app: Path, kernel: Kernel, compile: Compile
) -> None:
    lib = app / "opt/app/lib"
    compile(
        lib / "libanswer.so.1.2", "int answer(void) { return 1; }", "-shared", "-Wl,-soname,libanswer.so.1"
    )
    (lib / "libanswer.so.1").symlink_to("libanswer.so.1.2")
    (lib / "libanswer.so").symlink_to("/opt/app/lib/libanswer.so.1")
    command = [f"-L{lib}", "-l:libanswer.so.1.2"]
    compile(app / "opt/app/bin/prog", USER, *command, "-Wl,-rpath,$ORIGIN/../lib")
    assert problems(app, kernel, "/opt/app/bin/prog") == []
    (lib / "libanswer.so.1").unlink()
    assert "not in /opt/app/bin/../lib, /, /usr/lib" in texts(app, kernel, "/opt/app/bin/prog")


def test_a_library_that_the_host_has_gives_a_hint(app: Path, kernel: Kernel, compile: Compile) -> None:
    source = "extern int deflate(void); int main(void) { return 0; }"
    try:
        compile(app / "prog", source, "-Wl,--no-as-needed", "-l:libgcc_s.so.1")
    except Exception:  # noqa: BLE001 - a host without it has nothing to test here
        pytest.skip("no libgcc_s.so.1 here")
    (problem,) = problems(app, kernel, "/prog")
    assert "libgcc_s.so.1" in problem.text
    assert problem.hint is not None
    assert problem.hint.startswith("Copy it into the directory: cp /")


def test_a_damaged_library_is_a_problem(with_library: Path, kernel: Kernel) -> None:
    (with_library / "usr/lib/libdeeper.so").write_bytes(b"\x7fELF")
    assert "/usr/lib/libdeeper.so is truncated" in texts(with_library, kernel, "/prog")


def test_all_problems_are_in_one_error(app: Path, kernel: Kernel) -> None:
    (app / "script").write_text("#!/bin/sh\n")
    recipe = Recipe.from_directory(app, "/script; /nothing & /hello")
    with pytest.raises(PreflightError) as caught:
        check(recipe, kernel)
    assert len(caught.value.problems) == 2
    assert "/script is a script for /bin/sh" in caught.value.message
    assert "no such program in the image: /nothing" in caught.value.message


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("hello", True),
        ("/hello", True),
        ("./hello", True),
        ("etc/../hello", True),
        ("hallo", False),
        ("/etc", False),
    ],
)
def test_programs_are_found_as_the_kernel_finds_them(
    app: Path, kernel: Kernel, command: str, found: bool
) -> None:
    (app / "link").unlink()
    assert (problems(app, kernel, command) == []) == found


def test_each_kernel_has_folders_of_its_own(app: Path, kernel: Kernel, compile: Compile) -> None:
    compile(app / "lib/libanswer.so", "int answer(void) { return 1; }", "-shared", "-nostdlib")
    compile(app / "bin/prog", USER, f"-L{app}/lib", "-lanswer")
    assert problems(app, kernel, "prog") == []
    osv = Kernel(kernel.path, KernelKind.OSV, kernel.boot, None)
    assert "prog (looked for in /, /usr/lib)" in texts(app, osv, "prog")
    assert "libanswer.so, wanted by /bin/prog; not supplied by the kernel, not in /, /usr/lib" in texts(
        app, osv, "/bin/prog"
    )


def test_a_slip_of_the_finger_gets_a_suggestion(app: Path, kernel: Kernel) -> None:
    (problem,) = problems(app, kernel, "/helo")
    assert problem.hint == "Did you mean /hello?"
    (problem,) = problems(app, kernel, "/bin/hello")
    assert problem.hint == "Did you mean /hello?"
    (problem,) = problems(app, kernel, "zzz")
    assert "zzz (looked for in /, /usr/lib, /bin, " in problem.text


def test_links_to_programs_are_followed_and_loops_end(app: Path, kernel: Kernel) -> None:
    (app / "busy").symlink_to("hello")
    (app / "loop").symlink_to("loop")
    assert problems(app, kernel, "/busy") == []
    assert "no such program" in texts(app, kernel, "/loop")


def test_a_library_is_no_program(with_library: Path, kernel: Kernel) -> None:
    assert "shared library without main" in texts(with_library, kernel, "/usr/lib/libdeeper.so")


def test_static_programs_need_nothing(app: Path, kernel: Kernel, compile: Compile) -> None:
    compile(
        app / "static", USER.replace("extern int answer(void);", "int answer(void) { return 0; }"), "-static"
    )
    assert problems(app, kernel, "/static") == []


def test_what_only_the_guest_knows_is_passed_over(app: Path, kernel: Kernel) -> None:
    (app / "etc/script").write_text("--env=PROGRAM=/hello $PROGRAM\n")
    assert problems(app, kernel, "$PROGRAM; runscript /etc/script; runscript $SCRIPT") == []


def test_a_kernel_that_does_not_tell_its_symbols(app: Path, kernel: Kernel, compile: Compile) -> None:
    class Silent:
        supplies_libraries = kernel.supplies_libraries
        program_folders = kernel.program_folders
        library_folders = kernel.library_folders
        linker_rules = kernel.linker_rules
        exports = None

    compile(
        app / "prog",
        "int nowhere(void); int main(void) { return nowhere(); }",
        "-shared",
        "-fPIC",
    )
    assert preflight(Recipe.from_directory(app, "/prog"), Silent()) == []


def test_programs_given_as_bytes(app: Path, kernel: Kernel) -> None:
    recipe = Recipe.from_directory(app)
    recipe.tree.add(b"/copy", Content((app / "hello").read_bytes()))
    assert preflight(Recipe(recipe.tree, "/copy"), kernel) == []
    recipe.tree.add(b"/text", Content(b"text"))
    assert "no program" in preflight(Recipe(recipe.tree, "/text"), kernel)[0].text
