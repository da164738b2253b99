"""What is remembered of images, for how long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osvlab.image import unchanged
from osvlab.image.build import build
from osvlab.kernels import Kernel


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "osvlab"


@pytest.mark.parametrize("fs", ["rofs", "zfs"])
def test_nothing_is_remembered_of_an_image_that_goes_away(
    app: Path, kernel: Kernel, tmp_path: Path, cache: Path, fs: str
) -> None:
    build(app, kernel=kernel, output=tmp_path / "x.img", fs=fs, remember=False)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_images_that_are_gone_are_forgotten_when_there_are_many(
    app: Path, kernel: Kernel, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged, "_MANY", 5)
    monkeypatch.setattr(unchanged, "_TICK", -1_000_000_000)  # the program was compiled just now
    for name in "ab":
        build(app, kernel=kernel, output=tmp_path / f"{name}.img")
    (tmp_path / "a.img").unlink()
    old = cache / "builds/old.json"
    old.write_text(json.dumps({"made of": "x", "image": []}))  # as they were before
    (cache / "builds/damaged.json").write_text("{")
    assert len(list(old.parent.iterdir())) == 4
    build(app, kernel=kernel, output=tmp_path / "c.img")
    kept = [json.loads(path.read_bytes())["place"] for path in old.parent.iterdir()]
    assert sorted(kept) == [str(tmp_path / "b.img"), str(tmp_path / "c.img")]
