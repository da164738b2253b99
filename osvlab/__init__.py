"""A Jupyter lab kit for library operating systems.

Build an image from a directory, boot it on a library OS, and look at it while it runs:

>>> import osvlab
>>> image = osvlab.build("apps/hello")  # doctest: +SKIP
>>> with osvlab.run(image, memory="64M") as vm:  # doctest: +SKIP
...     vm.wait(timeout=10)
Exited(status=0)

The names below are loaded when they are first used, so that `import osvlab` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from osvlab.errors import OsvlabError
    from osvlab.guest.cloud_config import CloudConfig
    from osvlab.host import doctor
    from osvlab.image.build import build
    from osvlab.image.image import Image
    from osvlab.image.recipe import Recipe
    from osvlab.kernels import Kernel
    from osvlab.vm.machine import Machine
    from osvlab.vm.network import Network
    from osvlab.vm.outcome import Crashed, Exited, Lost, TimedOut
    from osvlab.vm.run import run
    from osvlab.vm.vm import VM, running

__version__ = "0.1.0"

__all__ = [
    "VM",
    "CloudConfig",
    "Crashed",
    "Exited",
    "Image",
    "Kernel",
    "Lost",
    "Machine",
    "Network",
    "OsvlabError",
    "Recipe",
    "TimedOut",
    "build",
    "doctor",
    "run",
    "running",
]

_HOME = {
    "VM": "osvlab.vm.vm",
    "CloudConfig": "osvlab.guest.cloud_config",
    "Crashed": "osvlab.vm.outcome",
    "Exited": "osvlab.vm.outcome",
    "Image": "osvlab.image.image",
    "Kernel": "osvlab.kernels",
    "Lost": "osvlab.vm.outcome",
    "Machine": "osvlab.vm.machine",
    "Network": "osvlab.vm.network",
    "OsvlabError": "osvlab.errors",
    "Recipe": "osvlab.image.recipe",
    "TimedOut": "osvlab.vm.outcome",
    "build": "osvlab.image.build",
    "doctor": "osvlab.host",
    "run": "osvlab.vm.run",
    "running": "osvlab.vm.vm",
}


def __getattr__(name: str) -> object:
    """Load one public name, once (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
