"""cloud-init in OSv's dialect: what a guest shall do at its first boot.

A configuration is a YAML mapping whose keys are worked off in their order (OSv:
modules/cloud-init/cloud-init.cc). It has little in common with the cloud-init of Linux
distributions: there are no users and packages; there are files and calls of the REST API.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from osvlab.guest.address import Address
from osvlab.guest.cloud_check import CloudConfigError, check, parse
from osvlab.paths import replacing

__all__ = ["LARGEST", "CloudConfig", "CloudConfigError", "config_of"]

LARGEST = 1 << 20
"""Bytes of a configuration that guests take (the lab kernel's module; clouds allow 16 to 64 KiB)."""


class CloudConfig:
    r"""What a guest shall do at its first boot, checked before anything boots.

    Parameters
    ----------
    text
        YAML in OSv's dialect.
    source
        Where it is from, for messages.

    Raises
    ------
    CloudConfigError
        It is no YAML, no mapping, or holds what the guest would not understand. The
        message shows the line.

    Examples
    --------
    >>> config = CloudConfig.make(hostname="web", files={"/tmp/hello": "hi"}, env={"COLOUR": "blue"})
    >>> print(config.text)
    hostname: web
    files:
      /tmp/hello: hi
    run:
    - POST: /env/COLOUR
      val: blue
    <BLANKLINE>
    >>> CloudConfig("hostnam: web")
    Traceback (most recent call last):
    osvlab.guest.cloud_check.CloudConfigError: cloud-init configuration, line 1: unknown key: hostnam
      1 | hostnam: web
        | ^
    hint: Did you mean hostname?
    """

    def __init__(self, text: str, source: str = "cloud-init configuration") -> None:
        size = len(text.encode())
        if size > LARGEST:
            raise CloudConfigError(
                f"{source} has {size} bytes; a guest takes {LARGEST} at most",
                hint="Put large files into the image, or upload them.",
            )
        self.text = text
        self.source = source
        self.document: dict[str, Any] = check(parse(text, source), text, source)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a configuration from a file.

        Raises
        ------
        CloudConfigError
            It cannot be read, or cannot be right.
        """
        try:
            with open(path, "rb") as file:
                data = file.read(LARGEST + 1)
        except OSError as error:
            raise CloudConfigError(
                f"cannot read {os.fspath(path)}: {error.strerror}", hint="Check path and permissions."
            ) from error
        try:
            return cls(data.decode(), os.fspath(path))
        except UnicodeDecodeError as error:
            raise CloudConfigError(
                f"{os.fspath(path)} is no UTF-8: {error}", hint="Save it as UTF-8."
            ) from error

    @classmethod
    def make(
        cls,
        *,
        hostname: str | None = None,
        files: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        commands: Iterable[str] = (),
        run: Iterable[Mapping[str, Any]] = (),
    ) -> Self:
        """Make a configuration; its parts are worked off in the order of the parameters.

        Parameters
        ----------
        hostname
            The guest's name.
        files
            Contents by absolute path; folders are made on the way.
        env
            Environment variables for the programs that start later.
        commands
            What to start, in the background of the application.
        run
            Further calls of the REST API: ``{"PUT": "/file/%2Ftmp%2Fa", "op": "MKDIRS"}``.
        """
        calls = [{"POST": f"/env/{name}", "val": value} for name, value in (env or {}).items()]
        calls += [{"PUT": "/app/", "command": command} for command in commands]
        calls += [dict(call) for call in run]
        parts: dict[str, Any] = {"hostname": hostname, "files": dict(files or {}), "run": calls}
        document = {key: value for key, value in parts.items() if value}
        return cls(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))

    def write_iso(self, path: str | os.PathLike[str]) -> None:
        """Write the disk that guests look for: an ISO 9660 image with the file ``/user-data``.

        It also has an empty ``/meta-data`` and the label ``cidata``, by which the NoCloud
        source of Linux's cloud-init knows such disks.
        """
        import io

        import pycdlib

        iso = pycdlib.PyCdlib()
        iso.new(interchange_level=3, rock_ridge="1.09", joliet=3, vol_ident="cidata")
        for name, plain, data in (
            ("user-data", "USERDATA", self.text.encode()),
            ("meta-data", "METADATA", b""),
        ):
            iso.add_fp(io.BytesIO(data), len(data), f"/{plain}.;1", rr_name=name, joliet_path=f"/{name}")
        with replacing(path) as temporary, open(temporary, "wb") as file:
            iso.write_fp(file)
        iso.close()

    @contextlib.contextmanager
    def serve(self, host: str = "127.0.0.1") -> Iterator[Address]:
        """Serve it over HTTP as ``/user-data`` while the block runs; yield the address.

        A guest on QEMU's user network reaches this host as 10.0.2.2: its cloud-init is
        told ``--server=10.0.2.2 --port=PORT --url=/user-data``.

        Parameters
        ----------
        host
            The address to listen on: only this host reaches the default one.

        Examples
        --------
        >>> import urllib.request
        >>> with CloudConfig("hostname: web").serve() as address:
        ...     urllib.request.urlopen(address.url("/user-data")).read()
        b'hostname: web'
        """
        from osvlab.guest.cloud_server import serving

        with serving(host, {"/user-data": self.text.encode()}) as address:
            yield address

    def require(self, supported: Iterable[str], kernel: str) -> None:
        """Raise `CloudConfigError` if it uses a key that a kernel's cloud-init does not have."""
        known = set(supported)
        for key in self.document:
            if key not in known:
                raise CloudConfigError(
                    f"{self.source}: {kernel} does not support {key}",
                    hint=f"It supports {', '.join(sorted(known))}.",
                )

    def __repr__(self) -> str:
        return f"<CloudConfig {', '.join(self.document) or '(empty)'}>"

    def __str__(self) -> str:
        return self.text


def config_of(source: CloudConfig | str | os.PathLike[str] | Mapping[str, Any]) -> CloudConfig:
    """Return what a caller means by a configuration: one, the path of one, its text, or its document."""
    if isinstance(source, CloudConfig):
        return source
    if isinstance(source, Mapping):
        return CloudConfig(yaml.safe_dump(dict(source), sort_keys=False, allow_unicode=True))
    if isinstance(source, str) and ("\n" in source or ": " in source):
        return CloudConfig(source)
    if isinstance(source, str | os.PathLike):
        return CloudConfig.read(Path(source))
    raise CloudConfigError(
        f"not a cloud-init configuration: {source!r}",
        hint="Give a CloudConfig, the path of one, its text, or its document.",
    )
