"""Protocols spoken with a running guest: its REST API, the upload of files, cloud-init.

Everything here takes an address, not a virtual machine, so that it also serves a guest
that somebody else started. Both kernels are served by the same calls.
"""

from __future__ import annotations

from osvlab.guest.address import Address, GuestError, GuestTimeoutError, GuestUnreachableError
from osvlab.guest.cloud_config import CloudConfig, CloudConfigError
from osvlab.guest.rest import Rest, RestError, RestNotFoundError
from osvlab.guest.upload import Upload, UploadError, upload

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
    "Upload",
    "UploadError",
    "upload",
]
