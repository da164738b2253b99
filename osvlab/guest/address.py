"""Where a guest's services are reached, and the errors of not reaching them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from osvlab.errors import OsvlabError

__all__ = [
    "Address",
    "GuestError",
    "GuestTimeoutError",
    "GuestUnreachableError",
    "Reachable",
    "address_of",
]


class GuestError(OsvlabError):
    """Something went wrong between the lab and a guest."""


class GuestUnreachableError(GuestError, ConnectionError):
    """Nothing answers at a guest's address."""


class GuestTimeoutError(GuestError, TimeoutError):
    """A guest did not answer within the deadline."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address.

    Examples
    --------
    >>> Address.parse("127.0.0.1:8000")
    Address(host='127.0.0.1', port=8000)
    >>> print(Address("localhost", 80).url("/os/version"))
    http://localhost:80/os/version
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``HOST:PORT``.

        Raises
        ------
        GuestError
            It is none.
        """
        host, colon, port = text.removeprefix("http://").rstrip("/").rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise GuestError(f"not an address: {text!r}", hint="Write it as HOST:PORT.")
        return cls(host.strip("[]"), int(port))

    def url(self, path: str = "/") -> str:
        """Return an HTTP URL of something at this address."""
        return f"http://{self}{path}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@runtime_checkable
class Reachable(Protocol):
    """What has ports that lead into a guest: a `VM`."""

    def address(self, port: int) -> Address:
        """Where the guest's `port` is reached from here."""


Guest: TypeAlias = Reachable | Address | str


def address_of(guest: Guest, port: int) -> Address:
    """Return where a service of a guest is reached.

    Parameters
    ----------
    guest
        A VM, an `Address`, or a text ``HOST:PORT``. The latter two name the service itself.
    port
        The service's port inside the guest.
    """
    if isinstance(guest, Address):
        return guest
    if isinstance(guest, str):
        return Address.parse(guest)
    return guest.address(port)
