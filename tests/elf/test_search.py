from __future__ import annotations

from dataclasses import replace

import pytest

from osvlab.elf.program import Program, ProgramKind
from osvlab.elf.search import LD_SO, Loaded, Namespace, Rules, expand, own_places

NOTHING = Program(
    name="",
    kind=ProgramKind.LIBRARY,
    size=0,
    memory=0,
    lowest_address=0,
    entry=0,
    interpreter=None,
    soname=None,
    needed=(),
    runpath=(),
    rpath=(),
    undefined=(),
    defined=frozenset(),
    tls_size=0,
    only_own_folders=False,
)


def loaded(path: str, loader: Loaded | None = None, **what: object) -> Loaded:
    program = replace(NOTHING, name=path, **what)  # type: ignore[arg-type]
    return Loaded(path.encode(), program, path, path.rpartition("/")[0].encode(), loader)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        (b"$ORIGIN", b"/opt/bin"),
        (b"${ORIGIN}/lib", b"/opt/bin/lib"),
        (b"$ORIGIN/../$LIB/$PLATFORM", b"/opt/bin/../lib/x86_64-linux-gnu/x86_64"),
        (b"${LIB}$LIB", b"lib/x86_64-linux-gnulib/x86_64-linux-gnu"),
        (b"$ORIGINAL", b"$ORIGINAL"),
        (b"$ORIGIN_", b"$ORIGIN_"),
        (b"${ORIGIN", b"${ORIGIN"),
        (b"$$ORIGIN", b"$/opt/bin"),
        (b"${ORIGIN}al", b"/opt/binal"),
        (b"$HOME", b"$HOME"),
    ],
)
def test_tokens(text: bytes, expanded: bytes) -> None:
    assert expand(text, b"/opt/bin", LD_SO) == expanded


def test_tokens_that_a_linker_does_not_know_stay() -> None:
    assert expand(b"$ORIGIN/$LIB", b"/a", Rules()) == b"/a/$LIB"


def test_folders_that_are_too_long_to_be_opened_are_not_even_written_out() -> None:
    main = loaded("/bin/main", runpath=("$ORIGIN" * 1000, "/r"))
    assert [place.folder for place in own_places(main, LD_SO)] == [b"/r"]


def test_rpath_comes_from_all_that_a_library_is_there_for_runpath_from_nobody_else() -> None:
    main = loaded("/bin/main", rpath=("$ORIGIN/m",))
    middle = loaded("/lib/middle", main, runpath=("/r",))
    last = loaded("/lib/last", middle, rpath=("$ORIGIN/l",))
    folders = [place.folder for place in own_places(last, LD_SO, (b"/path",))]
    assert folders == [b"/lib/l", b"/bin/m", b"/path"]
    assert [place.folder for place in own_places(middle, LD_SO, (b"/path",))] == [b"/path", b"/r"]
    assert [place.folder for place in own_places(last, Rules(inherits_rpath=False))] == [b"/lib/l"]
    assert own_places(last, LD_SO)[1].rule == "RPATH of /bin/main"


def test_a_name_is_looked_for_once_and_a_soname_counts_as_a_name() -> None:
    tree = {
        "liba.so": loaded("/liba.so", needed=("libc.so.1", "libb.so")),
        "libb.so": loaded("/libb.so", needed=("liba.so", "libc.so", "supplied")),
        "libc.so": loaded("/libc.so", soname="libc.so.1"),
    }
    asked = []

    def find(name: str, wanting: Loaded) -> Loaded | None:
        asked.append(name)
        found = tree.get(name)
        return None if found is None else replace(found, loader=wanting)

    main = loaded("/main", needed=("libc.so", "liba.so", "missing"))
    needs = [
        (n.wanting.program.name, n.name, n.found.file)
        for n in Namespace(find, frozenset({"supplied"})).follow(main)
    ]
    assert asked == ["libc.so", "liba.so", "missing", "libb.so"]
    assert needs == [
        ("/main", "libc.so", "/libc.so"),
        ("/main", "liba.so", "/liba.so"),
        ("/liba.so", "libc.so.1", "/libc.so"),
        ("/liba.so", "libb.so", "/libb.so"),
        ("/libb.so", "liba.so", "/liba.so"),
        ("/libb.so", "libc.so", "/libc.so"),
    ]


def test_what_is_opened_later_shares_what_is_there() -> None:
    tree = {"liba.so": loaded("/liba.so", needed=("libb.so",)), "libb.so": loaded("/libb.so")}
    asked = []

    def find(name: str, wanting: Loaded) -> Loaded | None:
        asked.append(name)
        return replace(tree[name], loader=wanting)

    main = loaded("/main", needed=("libb.so",))
    namespace = Namespace(find, frozenset())
    assert len([*namespace.follow(main)]) == 1
    assert [need.name for need in namespace.need("liba.so", main)] == ["liba.so", "libb.so"]
    assert [need.name for need in namespace.need("liba.so", main)] == ["liba.so"]
    assert [*namespace.follow(main)] == []
    assert asked == ["libb.so", "liba.so"]
