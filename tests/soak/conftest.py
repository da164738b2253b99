"""Chance that can be repeated, and how long a soak lasts."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from pathlib import Path

import pytest

import osvlab
from osvlab.demo import compile_example, static_busybox

SECONDS = float(os.environ.get("OSVLAB_SOAK_SECONDS", "60"))
"""How long each test that goes on by chance does so."""


@pytest.fixture
def chance() -> random.Random:
    """A source of chance; a test that fails shows the seed that repeats it."""
    seed = int(os.environ.get("OSVLAB_SOAK_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"to repeat this: OSVLAB_SOAK_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with real programs, links, and files of every size that matters."""
    folder = tmp_path_factory.mktemp("application")
    compile_example("hello", folder / "hello")
    (folder / "busybox").write_bytes(static_busybox().read_bytes())
    (folder / "busybox").chmod(0o755)
    for size in (0, 1, 511, 512, 513, 70_000):
        (folder / "files" / f"{size}").parent.mkdir(exist_ok=True)
        (folder / "files" / f"{size}").write_bytes(bytes(size))
    for name in ("a", "a/b", "a/b/c"):
        (folder / name).mkdir()
    (folder / "a/b/c/link").symlink_to("../../../files/513")
    (folder / "a" / "über").write_text("x")
    return folder


@pytest.fixture(scope="session")
def image(application: Path, tmp_path_factory: pytest.TempPathFactory) -> osvlab.Image:
    return osvlab.build(application, "/hello", output=tmp_path_factory.mktemp("soak") / "soak.img")


def corpus_of(name: str, folder: Path, seeds: Iterable[bytes]) -> Path:
    """Return the folder of a fuzzer's inputs: those it begins with, and all that it found before.

    What it finds is kept where `OSVLAB_SOAK_CORPUS` says.
    """
    corpus = Path(os.environ.get("OSVLAB_SOAK_CORPUS", folder)) / f"corpus-{name}"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    return corpus
