"""Packages for tests: directories, and archives with any entries."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path


def package(folder: Path, name: str, files: dict[str, str] | None = None, **told: object) -> Path:
    """Write a package's directory; what is told goes into its package.yaml, and `run` into run.yaml."""
    place = folder / name
    run = told.pop("run", None)
    lines = "".join(f"{key}: {value}\n" for key, value in told.items())
    meta = {"meta/package.yaml": f"name: {name}\ntitle: A test\nauthor: Me\n{lines}"}
    if run is not None:
        meta["meta/run.yaml"] = str(run)
    for path, text in {**meta, **(files or {})}.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)
    return place


def entry(name: str, data: bytes | None = None, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data or b"")
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data or b""


def archive(
    path: Path, *entries: tuple[tarfile.TarInfo, bytes], name: str = "app", packed: bool = True
) -> Path:
    """Write an archive with a package.yaml and more entries."""
    stream = io.BytesIO()
    # Capstan's own names begin with a slash; TarFile.addfile writes what it is given.
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in (entry("/meta/package.yaml", f"name: {name}".encode()), *entries):
            tar.addfile(info, io.BytesIO(data))
    data = stream.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if packed else data)
    return path
