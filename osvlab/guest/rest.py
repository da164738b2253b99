"""A typed client of OSv's REST API, for OSv and for the lab kernel's `httpserver` module.

The API is described by OSv's listings (modules/httpserver-api/api-doc/listings/*.json); what
the two servers do differently is met here, so that callers need not know which one answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property

from osvlab.guest.models import BatchReply, FilesystemUsage
from osvlab.guest.rest_client import RestClient, RestError, RestNotFoundError
from osvlab.guest.rest_files import FileApi, quoted
from osvlab.guest.rest_system import (
    AppApi,
    EnvironmentApi,
    HardwareApi,
    NetworkApi,
    OsApi,
    TraceApi,
)

__all__ = ["Rest", "RestError", "RestNotFoundError"]


class Rest(RestClient):
    """The REST API of one guest.

    Takes what `RestClient` takes: a VM, an `Address`, or ``HOST:PORT`` of the server itself.

    Examples
    --------
    >>> with Rest("127.0.0.1:8000") as rest:  # doctest: +SKIP
    ...     rest.os.version(), rest.os.memory.free(), rest.files.get("/etc/hosts")
    """

    @cached_property
    def os(self) -> OsApi:
        """Name, time, memory, threads, power."""
        return OsApi(self)

    @cached_property
    def files(self) -> FileApi:
        """Files of the guest: read, written, listed."""
        return FileApi(self)

    @cached_property
    def env(self) -> EnvironmentApi:
        """Environment variables, as a mapping."""
        return EnvironmentApi(self)

    @cached_property
    def app(self) -> AppApi:
        """Commands that are started in the guest."""
        return AppApi(self)

    @cached_property
    def hardware(self) -> HardwareApi:
        """Processors, firmware, hypervisor."""
        return HardwareApi(self)

    @cached_property
    def network(self) -> NetworkApi:
        """Interfaces and routes."""
        return NetworkApi(self)

    @cached_property
    def trace(self) -> TraceApi:
        """Tracepoints and their counters."""
        return TraceApi(self)

    def df(self, mount: str | None = None) -> list[FilesystemUsage]:
        """Return how full the mounted file systems are, or the one at a mount point."""
        path = "/fs/df/" if mount is None else "/fs/df/" + quoted(mount)
        return [FilesystemUsage.from_json(found) for found in self.get(path)]

    def batch(self, requests: Iterable[tuple[str, str]]) -> list[BatchReply]:
        """Send several requests in one, each a method and a URL (``("GET", "/os/uptime")``)."""
        asked = json.dumps([{"method": method, "relative_url": url} for method, url in requests])
        replies = self.request("POST", "/api/batch", files={"batch": (None, asked)})
        return [BatchReply(int(reply["code"]), reply.get("body")) for reply in replies]
