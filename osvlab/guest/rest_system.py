"""The guest as a system through its REST API: time, memory, threads, commands, network, tracepoints."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping
from typing import Any

from osvlab.errors import OsvlabError
from osvlab.guest.address import GuestUnreachableError
from osvlab.guest.deadline import Deadline
from osvlab.guest.models import Counter, Interface, Route, Thread, TraceEvent
from osvlab.guest.rest_client import RestClient, RestError, RestNotFoundError
from osvlab.guest.rest_files import quoted

__all__ = ["AppApi", "EnvironmentApi", "HardwareApi", "MemoryApi", "NetworkApi", "OsApi", "TraceApi"]


class _Family:
    def __init__(self, client: RestClient) -> None:
        self._client = client


class MemoryApi(_Family):
    """The guest's memory.

    The balloon's size is left out on purpose: asking a real OSv for it ends the guest.
    """

    def total(self) -> int:
        """Return the bytes of RAM the kernel manages."""
        return int(self._client.get("/os/memory/total"))

    def free(self) -> int:
        """Return how many of them are free."""
        return int(self._client.get("/os/memory/free"))


class OsApi(_Family):
    """The operating system (``/os``)."""

    @property
    def memory(self) -> MemoryApi:
        """Its memory."""
        return MemoryApi(self._client)

    def name(self) -> str:
        """Return what it calls itself."""
        return str(self._client.get("/os/name"))

    def vendor(self) -> str:
        """Return who made it."""
        return str(self._client.get("/os/vendor"))

    def version(self) -> str:
        """Return its version."""
        return str(self._client.get("/os/version"))

    def uptime(self) -> int:
        """Return the seconds since it booted."""
        return int(self._client.get("/os/uptime"))

    def date(self) -> str:
        """Return its time of day as text (``%a %b %d %H:%M:%S %Z %Y``)."""
        return str(self._client.get("/os/date"))

    def dmesg(self) -> str:
        """Return what the kernel has logged, as far as it is kept."""
        return str(self._client.get("/os/dmesg"))

    def hostname(self) -> str:
        """Return its host name."""
        return str(self._client.get("/os/hostname"))

    def set_hostname(self, name: str) -> None:
        """Set its host name."""
        self._client.request("POST", "/os/hostname", {"name": name})

    def threads(self) -> list[Thread]:
        """Return its threads, by number."""
        found = self._client.get("/os/threads")
        return sorted((Thread.from_json(thread) for thread in found["list"]), key=lambda t: t.id)

    def cmdline(self) -> str:
        """Return the kernel's command line."""
        return str(self._client.get("/os/cmdline"))

    def set_cmdline(self, cmdline: str) -> None:
        """Write the command line that counts at the next boot from the guest's own disk."""
        self._client.request("POST", "/os/cmdline", {"cmdline": cmdline})

    def poweroff(self) -> None:
        """Turn the guest off. It does not live to answer."""
        self._last_words("/os/poweroff")

    def shutdown(self) -> None:
        """Turn the guest off in good order."""
        self._last_words("/os/shutdown")

    def reboot(self) -> None:
        """Start the guest again."""
        self._last_words("/os/reboot")

    def _last_words(self, path: str) -> None:
        self._client.wait()
        try:
            self._client.request("POST", path)
        except GuestUnreachableError:
            return  # the connection went with the guest


class HardwareApi(_Family):
    """The machine (``/hardware``)."""

    def processors(self) -> int:
        """Return how many CPUs there are."""
        return int(self._client.get("/hardware/processor/count"))

    def flags(self) -> list[str]:
        """Return the CPU's features by name."""
        return str(self._client.get("/hardware/processor/flags")).split()

    def firmware_vendor(self) -> str:
        """Return who made the firmware."""
        return str(self._client.get("/hardware/firmware/vendor"))

    def hypervisor(self) -> str:
        """Return what runs the guest, as far as it can tell."""
        return str(self._client.get("/hardware/hypervisor"))


class NetworkApi(_Family):
    """The network (``/network``)."""

    def interfaces(self) -> list[Interface]:
        """Return all interfaces."""
        return [Interface.from_json(found) for found in self._client.get("/network/ifconfig/")]

    def interface(self, name: str) -> Interface:
        """Return one interface.

        Raises
        ------
        RestNotFoundError
            There is none of that name.
        """
        return Interface.from_json(self._client.get(f"/network/ifconfig/{quoted(name)}"))

    def routes(self) -> list[Route]:
        """Return the routing table."""
        return [Route.from_json(found) for found in self._client.get("/network/route/")]


class EnvironmentApi(_Family, MutableMapping[str, str]):
    """Environment variables of the guest, as a mapping.

    Programs that are started later see a change. In OSv all programs share one
    environment, so there running ones see it, too.
    """

    def __getitem__(self, name: str) -> str:
        try:
            return str(self._client.get(self._place(name)))
        except RestError as error:
            if error.status in (400, 404):  # OSv says 400 for one that is not set
                raise KeyError(name) from error
            raise

    def __setitem__(self, name: str, value: str) -> None:
        self._client.request("POST", self._place(name), {"val": value})

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._client.request("DELETE", self._place(name))

    def _all(self) -> dict[str, str]:
        pairs = (str(pair).partition("=") for pair in self._client.get("/env/"))
        return {name: value for name, _, value in pairs}

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"<environment of {self._client.address}>"

    def _place(self, name: str) -> str:
        if not name or "=" in name:
            raise OsvlabError(
                f"not a name for an environment variable: {name!r}",
                hint="A name is not empty and holds no '='.",
            )
        return f"/env/{quoted(name)}"


class AppApi(_Family):
    """Commands in the guest (``/app``). What they print goes to the guest's console."""

    POLL = 0.1
    """Seconds between two looks whether a command has finished; the API has no other way to know."""

    def start(self, command: str, *, new_program: bool = False) -> list[int]:
        """Start a command, in OSv's grammar without ``;``; return the ids of its main threads.

        Raises
        ------
        RestError
            It cannot be loaded, or cannot be understood.
        """
        params: dict[str, Any] = {"command": command, "new_program": new_program or None}
        said = str(self._client.request("PUT", "/app/", params))
        return [int(word) for word in said.split()]

    def finished(self, thread: int) -> bool:
        """Say whether a command has ended; True, too, for an id that never was."""
        return str(self._client.get("/app/finished", tid=thread)) == "1"

    def run(self, command: str, timeout: float = 60) -> None:
        """Start a command and wait until it has ended. How it ended, the API does not tell.

        Raises
        ------
        GuestTimeoutError
            It still runs after `timeout` seconds.
        """
        deadline = Deadline(timeout)
        for thread in self.start(command):
            while not self.finished(thread):
                time.sleep(min(self.POLL, deadline.left(f"end of {command!r} in the guest")))


class TraceApi(_Family):
    """Tracepoints (``/trace``)."""

    def events(self, match: str | None = None) -> list[TraceEvent]:
        """Return the tracepoints, those whose name matches a regular expression."""
        return [TraceEvent.from_json(found) for found in self._client.get("/trace/status", match=match)]

    def event(self, name: str) -> TraceEvent:
        """Return one tracepoint.

        Raises
        ------
        RestNotFoundError
            There is none of that name.
        """
        try:
            return TraceEvent.from_json(self._client.get(f"/trace/event/{quoted(name)}"))
        except RestError as error:
            if error.status == 500 and name in error.message:  # OSv's way to say so
                raise RestNotFoundError(f"the guest has no tracepoint {name}", 404) from error
            raise

    def enable(self, name: str, enabled: bool = True, *, backtrace: bool = False) -> None:
        """Turn a tracepoint on or off."""
        params = {"enabled": enabled, "backtrace": backtrace or None}
        self._client.request("POST", f"/trace/event/{quoted(name)}", params)

    def count(self, name: str, enabled: bool = True) -> None:
        """Begin or end to count how often a tracepoint is passed."""
        self._client.request("POST", f"/trace/count/{quoted(name)}", {"enabled": enabled})

    def counts(self) -> list[Counter]:
        """Return the counters."""
        return [Counter.from_json(found) for found in self._client.get("/trace/count").get("list", [])]

    def clear_counts(self) -> None:
        """End all counting."""
        self._client.request("DELETE", "/trace/count")
