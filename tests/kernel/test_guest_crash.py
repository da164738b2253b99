"""Backtraces through the application, libc without frame tables, signal handlers and recursion."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import osvlab
from osvlab.image.build import build
from osvlab.image.image import Image
from osvlab.vm.outcome import Crashed

PROGRAM = Path(__file__).parent / "guest" / "crash" / "crash.c"
VARIANTS = {"optimised": ["-O1"], "plain": ["-O0"], "static": ["-O1", "-static"]}

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("crash")
    for name, flags in VARIANTS.items():
        argv = ["gcc", "-Wall", "-Wextra", "-fno-optimize-sibling-calls", *flags, str(PROGRAM)]
        subprocess.run([*argv, "-o", str(tree / name)], check=True)
    return build(tree, command="/plain", output=tree.parent / "crash.img", check=False)


CHAINS = {
    "callback": ["compare", "sorter", "main"],
    "handler": ["handler", "__restore_rt", "main"],
    "recursion": ["deep", "main"],
    "libc": ["main"],
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("what", CHAINS)
def test_the_chain_of_calls_is_complete_and_in_order(what: str, variant: str, image: Image) -> None:
    with osvlab.run(image, command=f"/{variant} {what}", timeout=60) as vm:
        outcome = vm.wait()
        assert isinstance(outcome, Crashed), vm.console.text
        console = vm.console.text
    symbols = [frame.symbol for frame in outcome.report.backtrace]
    places = [symbols.index(name) for name in CHAINS[what]]
    assert places == sorted(places), symbols
    assert "_start" in symbols
    assert len(symbols) < 14, symbols
    for name in CHAINS[what]:
        assert f"<{name}+" in console
    if what == "recursion":
        assert "more times" in console
