"""The ZFS module's checksums and packings against those of Python's libraries."""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from tests.kernel import host

lz4 = pytest.importorskip("lz4.block")

ZFS = "modules/zfs"
SOURCES = [f"{ZFS}/{name}.c" for name in ("checksum", "sha256", "lz4", "lzjb", "zle", "inflate")]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("zfs") / "codecs"
    return host.build(output, ["tests/host/zfs_codec_test.c", *SOURCES], ["-iquote", ZFS])


def run(program: Path, *arguments: object, data: bytes) -> subprocess.CompletedProcess[bytes]:
    argv = [program, *map(str, arguments)]
    done = subprocess.run(argv, input=data, capture_output=True, check=False, timeout=300)
    assert done.stderr == b""
    return done


def filtered(program: Path, *arguments: object, data: bytes) -> bytes:
    done = run(program, *arguments, data=data)
    assert done.returncode == 0
    return done.stdout


def samples() -> dict[str, bytes]:
    dice = random.Random(4)
    words = [dice.randbytes(dice.randrange(1, 12)) for _ in range(300)]
    text = b"".join(dice.choice(words) for _ in range(30000))
    mixed = b"".join(
        dice.choice([b"\0" * dice.randrange(3000), dice.randbytes(dice.randrange(700)), text[:2000]])
        for _ in range(200)
    )
    return {
        "nothing": b"",
        "one": b"x",
        "short": b"twelve bytes",
        "zeros": bytes(131072),
        "text": text[:131072],
        "noise": dice.randbytes(131072),
        "mixed": mixed[:131072],
        "odd": mixed[1:70000],
        "run": b"ab" * 40000 + b"c",
    }


SAMPLES = samples()


@pytest.mark.parametrize("name", SAMPLES)
def test_sha256_is_that_of_hashlib(program: Path, name: str) -> None:
    for size in (0, 1, 55, 56, 63, 64, 65, 119, 120, len(SAMPLES[name])):
        data = SAMPLES[name][:size]
        assert filtered(program, "sha256", 0, data=data).decode() == hashlib.sha256(data).hexdigest()


def test_fletcher_sums_are_as_specified(program: Path) -> None:
    data = SAMPLES["noise"][:4096]
    mask = 2**64 - 1
    a = b = c = d = 0
    for word in struct.unpack("<1024I", data):
        a += word
        b += a
        c += b
        d += c
    expected = "".join(f"{x & mask:016x}" for x in (a, b, c, d))
    assert filtered(program, "fletcher4", 0, data=data).decode() == expected
    sums = [0, 0, 0, 0]
    words = struct.unpack("<512Q", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        sums[0] += even
        sums[1] += odd
        sums[2] += sums[0]
        sums[3] += sums[1]
    expected = "".join(f"{x & mask:016x}" for x in sums)
    assert filtered(program, "fletcher2", 0, data=data).decode() == expected


@pytest.mark.parametrize("name", SAMPLES)
def test_lz4_is_understood_by_its_library(program: Path, name: str) -> None:
    data = SAMPLES[name]
    packed = filtered(program, "pack-lz4", 2 * len(data) + 100, data=data)
    (length,) = struct.unpack_from(">I", packed)
    assert length == len(packed) - 4
    assert lz4.decompress(packed[4:], uncompressed_size=len(data)) == data
    assert filtered(program, "lz4", len(data), data=packed + bytes(300)) == data
    if name in ("zeros", "text", "mixed", "run"):
        assert len(packed) < 1.4 * len(lz4.compress(data, store_size=False)) + 100


@pytest.mark.parametrize("name", SAMPLES)
def test_lz4_of_its_library_is_unpacked(program: Path, name: str) -> None:
    data = SAMPLES[name]
    for options in ({}, {"mode": "high_compression", "compression": 12}):
        packed = lz4.compress(data, store_size=False, **options)
        block = struct.pack(">I", len(packed)) + packed
        assert filtered(program, "lz4", len(data), data=block) == data
        assert run(program, "lz4", len(data) + 1, data=block).returncode == 1


@pytest.mark.parametrize("kind", ["lz4", "lzjb"])
@pytest.mark.parametrize("name", SAMPLES)
def test_packing_stops_at_its_limit(program: Path, kind: str, name: str) -> None:
    data = SAMPLES[name]
    packed = filtered(program, f"pack-{kind}", 2 * len(data) + 100, data=data)
    assert filtered(program, kind, len(data), data=packed + bytes(10)) == data
    for limit in (0, 3, len(packed) // 2, len(packed) - 1):
        assert filtered(program, f"pack-{kind}", limit, data=data) == b""


@pytest.mark.parametrize("name", SAMPLES)
def test_zlib_streams_are_unpacked(program: Path, name: str) -> None:
    data = SAMPLES[name]
    for level in (0, 1, 6, 9):
        for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY):
            packer = zlib.compressobj(level, strategy=strategy)
            packed = packer.compress(data) + packer.flush()
            assert filtered(program, "zlib", len(data), data=packed + bytes(100)) == data
            assert run(program, "zlib", len(data) + 1, data=packed).returncode == 1


def zle(data: bytes) -> bytes:
    out = bytearray()
    at = 0
    while at < len(data):
        zeros = len(data[at : at + 192]) - len(data[at : at + 192].lstrip(b"\0"))
        if zeros > 1:
            out.append(64 + zeros - 1)
            at += zeros
            continue
        end = min(len(data), at + 64)
        found = data.find(b"\0\0", at, end)
        end = end if found < 0 else max(found, at + 1)
        out.append(end - at - 1)
        out += data[at:end]
        at = end
    return bytes(out)


@pytest.mark.parametrize("name", SAMPLES)
def test_zle_is_unpacked(program: Path, name: str) -> None:
    data = SAMPLES[name]
    assert filtered(program, "zle", len(data), data=zle(data)) == data


@pytest.mark.parametrize("kind", ["lz4", "lzjb", "zle", "zlib"])
def test_damaged_blocks_do_no_harm(program: Path, kind: str) -> None:
    data = SAMPLES["mixed"][:8192]
    packed = {
        "lz4": lambda: filtered(program, "pack-lz4", 20000, data=data),
        "lzjb": lambda: filtered(program, "pack-lzjb", 20000, data=data),
        "zle": lambda: zle(data),
        "zlib": lambda: zlib.compress(data, 6),
    }[kind]()
    output = filtered(program, kind, len(data), 20000, 1, data=packed)
    assert output.endswith(b"of 20000 unpacked\n")
