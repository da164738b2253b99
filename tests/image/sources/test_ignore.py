from __future__ import annotations

import pytest

from osvlab.image.collection import RecipeError
from osvlab.image.sources.ignore import Ignore


@pytest.mark.parametrize(
    ("pattern", "ignored", "kept"),
    [
        ("/file.txt", ["/file.txt"], ["/d/file.txt", "/fileXtxt", "/file.txt2", "/afile.txt"]),
        ("/d/file.txt", ["/d/file.txt"], ["/file.txt"]),
        ("/*.txt", ["/a.txt", "/.txt"], ["/d/a.txt", "/atxt"]),
        ("/d/*.txt", ["/d/a.txt"], ["/a.txt", "/d/e/a.txt"]),
        ("/**/file.txt", ["/file.txt", "/d/file.txt", "/d/e/file.txt"], ["/myfile.txt", "/d/myfile.txt"]),
        ("/**/*.txt", ["/a.txt", "/d/a.txt", "/d/e/a.txt"], ["/a.txt2"]),
        ("/d/**/x", ["/d/x", "/d/e/x", "/d/e/f/x"], ["/x", "/dx", "/d/ex"]),
        ("/d", ["/d"], ["/d2", "/e/d"]),
        ("/d/*", ["/d/a", "/d/e/a", "/d/e"], ["/d", "/d2", "/e/d/a"]),
        ("/*/*", ["/d/a", "/d/e/a"], ["/d", "/a"]),
        ("/d/*/*", ["/d/e/a", "/d/e/f/a"], ["/d", "/d/e"]),
        ("/a+b[c]?(d)", ["/a+b[c]?(d)"], ["/aab", "/a+bc"]),
        ("/é/*.o", ["/é/a.o"], ["/e/a.o"]),
    ],
)
def test_patterns(pattern: str, ignored: list[str], kept: list[str]) -> None:
    ignore = Ignore(f"  {pattern}  \n")
    assert [path for path in ignored if not ignore(path.encode())] == []
    assert [path for path in kept if ignore(path.encode())] == []


def test_some_are_always_ignored_and_comments_are_none() -> None:
    ignore = Ignore("# /kept\n\n   # /kept\n")
    always = ["/meta", "/meta/run.yaml", "/mpm-pkg", "/.git", "/.capstanignore", "/.gitignore", "/volumes"]
    assert all(ignore(path.encode()) for path in always)
    assert not any(ignore(path.encode()) for path in ("/kept", "/metadata", "/src/meta", "/src/.git"))


def test_all_wrong_patterns_are_told_with_their_lines() -> None:
    with pytest.raises(RecipeError) as caught:
        Ignore("/fine\n!/negated\nbare\n/meta\n/meta/*\n", "app/.capstanignore")
    assert caught.value.message.splitlines() == [
        "app/.capstanignore, line 2: patterns cannot be negated: !/negated",
        "app/.capstanignore, line 3: a pattern begins with a slash: bare",
        "app/.capstanignore, line 4: the package's description cannot be left out: /meta",
    ]
