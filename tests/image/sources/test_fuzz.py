"""Whatever somebody writes, it is understood or refused in words: nothing else may come out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osvlab.errors import OsvlabError
from osvlab.image.recipe import Recipe
from osvlab.image.sources.ignore import Ignore
from osvlab.image.sources.package import Package
from osvlab.image.sources.run_config import RunConfig, run_scripts

FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

BITS = ["/", "a", "b", "->", "!", "**", "/**", "&", "/&", "%", "%(A)s", "%%", "${A}", "${", "..", ".", "\0"]
BITS += [" ", "#", "\u00e9", "\udce9", "[manifest]", "file", "link", "dir", ": "]
PATHS = st.lists(st.sampled_from(BITS), max_size=5).map("".join)
LINES = st.lists(
    st.one_of(PATHS, st.tuples(PATHS, PATHS).map(lambda pair: f"/{pair[0]}: {pair[1]}")), max_size=8
).map("\n".join)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAPSTAN_ROOT", str(tmp_path / "store"))
    (tmp_path / "dir/a").mkdir(parents=True)
    for name in ("file", "dir/file", "dir/a/b", "a"):
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dir/link").symlink_to("link")
    return tmp_path


def only_refused(make: Callable[[], object]) -> None:
    with contextlib.suppress(OsvlabError):
        made = make()
        if not isinstance(made, Recipe):
            return
        for path, _ in made.tree.walk():
            assert made.why(path)


@FAST
@given(LINES)
def test_manifests(host: Path, text: str) -> None:
    (host / "usr.manifest").write_bytes(os.fsencode(text))
    only_refused(lambda: Recipe.from_manifest(host / "usr.manifest", "/x", variables={"A": "dir"}))


@FAST
@given(LINES)
def test_ignore_files(text: str) -> None:
    only_refused(lambda: Ignore(text)(b"/a/b"))


KEYS = ["base", "cmdline", "files", "rootfs", "rpm-base", "name", "require", "runtime", "config_set", "env"]
KEYS += ["config_set_default", "bootcmd", "main", "args", "shell", "version", "release", "arch", "/a", "x"]
WORDS = [
    "java",
    "node",
    "python",
    "native",
    "app:x",
    "osv-loader",
    "/a $B",
    "dir",
    "file",
    "true",
    "",
    "~",
    "80",
]
WORDS += ["2026-01-01", '"open', "'", "&", "*a", "!!python/object:os.system x", "\u00e9", "../x"]


def documents(scalar: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return texts in YAML's flow style, mostly right and sometimes not."""
    return st.recursive(
        scalar,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
            st.lists(st.tuples(st.sampled_from(KEYS), inner), max_size=4).map(
                lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
            ),
        ),
        max_leaves=8,
    )


TEXTS = st.lists(st.tuples(st.sampled_from(KEYS), documents(st.sampled_from(WORDS))), max_size=4).map(
    lambda pairs: "".join(f"{key}: {value}\n" for key, value in pairs)
)


@FAST
@given(TEXTS)
def test_capstanfiles(host: Path, text: str) -> None:
    (host / "Capstanfile").write_text(text)
    only_refused(lambda: Recipe.from_capstanfile(host / "Capstanfile"))


@FAST
@given(TEXTS)
def test_run_yamls(text: str) -> None:
    only_refused(lambda: run_scripts({"app": RunConfig.parse(text, "run.yaml")}))


@FAST
@given(TEXTS)
def test_package_yamls(host: Path, text: str) -> None:
    (host / "pack/meta").mkdir(parents=True, exist_ok=True)
    (host / "pack/meta/package.yaml").write_text(text)
    only_refused(lambda: Package.read(host / "pack"))


@FAST
@given(st.binary(max_size=200))
def test_bytes_of_no_kind(host: Path, data: bytes) -> None:
    for name in ("usr.manifest", "Capstanfile", "app.mpm", "other"):
        (host / name).write_bytes(data)
        only_refused(lambda name=name: Recipe.from_source(host / name, "/x"))  # type: ignore[misc]
