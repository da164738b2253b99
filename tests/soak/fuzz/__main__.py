"""Targets for atheris, which finds inputs by what they reach in the code.

python -m tests.soak.fuzz TARGET [options of libFuzzer] [folder of inputs | FILE to repeat]
"""

from __future__ import annotations

import sys

import atheris

if __name__ == "__main__":
    with atheris.instrument_imports(include=["osvlab"]):  # also what is imported when it is first used
        from tests.soak.fuzz import images, parts, pools, recipes

        targets = images.TARGETS | parts.TARGETS | pools.TARGETS | recipes.TARGETS
        name, *rest = sys.argv[1:]
        how = {"custom_mutator": pools.mutated} if name in pools.TARGETS else {}
        atheris.Setup([sys.argv[0], *rest], targets[name], **how)
        atheris.Fuzz()
