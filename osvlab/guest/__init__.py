"""Protocols spoken with a running guest: its REST API, the upload of files, cloud-init.

Everything here takes an address, not a virtual machine, so that it also serves a guest
that somebody else started. Both kernels are served by the same calls.

The names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from osvlab.guest.address import Address, GuestError, GuestTimeoutError, GuestUnreachableError
    from osvlab.guest.cloud_config import CloudConfig, CloudConfigError
    from osvlab.guest.cpiod import Upload, UploadError, upload
    from osvlab.guest.rest import Rest, RestError, RestNotFoundError
    from osvlab.guest.watch import Sample, Watch

__all__ = [
    "Address",
    "CloudConfig",
    "CloudConfigError",
    "GuestError",
    "GuestTimeoutError",
    "GuestUnreachableError",
    "Rest",
    "RestError",
    "RestNotFoundError",
    "Sample",
    "Upload",
    "UploadError",
    "Watch",
    "upload",
]

_HOME = {
    "Address": "address",
    "CloudConfig": "cloud_config",
    "CloudConfigError": "cloud_config",
    "GuestError": "address",
    "GuestTimeoutError": "address",
    "GuestUnreachableError": "address",
    "Rest": "rest",
    "RestError": "rest",
    "RestNotFoundError": "rest",
    "Sample": "watch",
    "Upload": "cpiod",
    "UploadError": "cpiod",
    "Watch": "watch",
    "upload": "cpiod",
}


def __getattr__(name: str) -> object:
    """Load one public name, once (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
