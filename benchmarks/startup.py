"""How long `import osvlab` takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.harness import Bound, Measured, measures, median_seconds


@measures("startup")
def startup() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Compare a Python that imports osvlab with one that imports nothing."""

    def python(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True)

    nothing, package, used = median_seconds(
        lambda: python("pass"),
        lambda: python("import osvlab"),
        lambda: python("import osvlab; osvlab.run, osvlab.build"),
        times=15,
    )
    raw = {"python": nothing, "import osvlab": package, "import and touch run and build": used}
    yield "import osvlab", "ms", Bound(150, 80), Measured((package - nothing) * 1e3, raw)
