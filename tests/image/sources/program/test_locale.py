from __future__ import annotations

import os
from pathlib import Path

import pytest

from osvlab.filesystems.tree import HostFile
from osvlab.image.collection import Collection, RecipeError
from osvlab.image.sources.program import locale
from osvlab.image.sources.program.host_tree import HostTree


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with a few locales, of which real ones have what is installed."""
    files = {
        "lib/de_DE.utf8/LC_CTYPE": b"compiled",
        "lib/de_DE.utf8/LC_MESSAGES/SYS_LC_MESSAGES": b"compiled",
        "lib/locale-archive": b"\0en_GB.utf8\0fr_FR\0",
        "share/de/LC_MESSAGES/tool.mo": b"messages",
        "share/de/LC_MESSAGES/other.mo": b"messages",
        "share/de_DE/LC_MESSAGES/library.mo": b"messages",
        "share/sr@latin/LC_MESSAGES/tool.mo": b"messages",
        "tool": b"\x7fELF\0/bin/tool\0/usr/share/locale\0other messages\0",
        "library": b"\x7fELF\0mylibrary\0bindtextdomain\0%other\0",
        "silent": b"\x7fELF\0other\0messages in no language but one\0",
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    monkeypatch.setattr(locale, "_COMPILED", str(tmp_path / "lib"))
    monkeypatch.setattr(locale, "_ARCHIVE", str(tmp_path / "lib/locale-archive"))
    monkeypatch.setattr(locale, "_CATALOGS", str(tmp_path / "share"))
    return tmp_path


def added(host: Path, name: str) -> set[str]:
    tree = HostTree(Collection())
    locale.add_locale(tree, name, [bytes(host / program) for program in ("tool", "library", "silent")])
    walk = tree.files.tree.walk()
    return {
        os.path.relpath(os.fsdecode(path), f"/host{host}")
        for path, node in walk
        if isinstance(node, HostFile)
    }


@pytest.mark.parametrize("name", ["de_DE.UTF-8", "de_DE.utf8"])
def test_compiled_files_and_messages_of_the_program_and_its_libraries(host: Path, name: str) -> None:
    assert added(host, name) == {
        "lib/de_DE.utf8/LC_CTYPE",
        "lib/de_DE.utf8/LC_MESSAGES/SYS_LC_MESSAGES",
        "share/de/LC_MESSAGES/tool.mo",
        "share/de_DE/LC_MESSAGES/library.mo",
    }


def test_the_archive_that_holds_many(host: Path) -> None:
    assert added(host, "en_GB.UTF-8") == {"lib/locale-archive"}
    assert added(host, "fr_FR") == {"lib/locale-archive"}


def test_messages_alone(host: Path) -> None:
    assert added(host, "de_AT.UTF-8") == {"share/de/LC_MESSAGES/tool.mo"}
    assert added(host, "sr@latin") == {"share/sr@latin/LC_MESSAGES/tool.mo"}


def test_what_every_libc_has(host: Path) -> None:
    assert added(host, "C") == added(host, "POSIX") == set()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nl_NL.UTF-8", r"does not have the locale nl_NL.UTF-8"),
        ("GB.utf8", r"does not have the locale"),
        ("../../etc", r"not the name of a locale: '../../etc'"),
        ("", r"not the name"),
    ],
)
def test_what_the_host_does_not_have(host: Path, name: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        added(host, name)


def test_the_host_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/usr/lib/locale/C.utf8").is_dir():
        pytest.skip("no C.utf8 here")
    monkeypatch.undo()
    tree = HostTree(Collection())
    locale.add_locale(tree, "C.UTF-8", [])
    assert isinstance(tree.files.find(b"/usr/lib/locale/C.utf8/LC_CTYPE"), HostFile)
