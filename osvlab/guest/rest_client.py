"""Requests to the REST API of a guest: values and errors instead of bodies and statuses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from osvlab.guest.address import Address, Guest, GuestError, GuestUnreachableError, address_of
from osvlab.guest.deadline import Deadline
from osvlab.guest.http_client import HttpClient, Response
from osvlab.guest.lenient_json import loads

__all__ = ["PORT", "RANGE_NOT_SATISFIABLE", "RestClient", "RestError", "RestNotFoundError"]

PORT = 8000
"""Where the server listens in the guest unless it is told otherwise."""

RETRY = 0.05
"""Seconds between two looks whether the server has started."""

RANGE_NOT_SATISFIABLE = 416


class RestError(GuestError):
    """The guest refused a request; the message is its own.

    Attributes
    ----------
    status
        The HTTP status.
    """

    def __init__(self, message: str, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.status = status


class RestNotFoundError(RestError, LookupError):
    """The guest has no such thing (HTTP status 404)."""


class RestClient:
    """Asks the REST API of one guest, path by path.

    Parameters
    ----------
    guest
        A VM, an `Address`, or ``HOST:PORT`` of the server itself.
    token
        The bearer token that the server was started with.
    timeout
        Seconds that a request may take, its answer included. The first one also waits
        so long for the server to start.
    ended
        Says why the guest has ended, None while it runs.
    """

    def __init__(
        self,
        guest: Guest,
        *,
        token: str | None = None,
        timeout: float = 10,
        ended: Callable[[], str | None] | None = None,
    ) -> None:
        self.address: Address = address_of(guest, PORT)
        self.timeout = timeout
        self._ready = False
        self._http = HttpClient(self.address, token=token, ended=ended)
        self._ended = ended or (lambda: None)

    def get(self, path: str, **params: Any) -> Any:
        """Return the value that a GET of a path gives."""
        return self.request("GET", path, params)

    def request(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        files: Any = None,
        timeout: float | None = None,
    ) -> Any:
        """Send a request and return the value of its answer; None for an empty one.

        Parameters
        ----------
        method, path
            As in HTTP; the path is percent-encoded already.
        params
            Query parameters. Those that are None are left out; truth values become ``true`` and ``false``.
        files
            Parts of a multipart body, as httpx takes them.
        timeout
            Seconds; None takes the client's.

        Raises
        ------
        RestError
            The guest refused it.
        GuestUnreachableError, GuestTimeoutError, GuestError
            Nothing answers, not in time, or not as a REST API does.
        """
        body = self.raw(method, path, params, files=files, timeout=timeout)
        if not body:
            return None
        try:
            return loads(body)
        except ValueError as error:
            raise GuestError(
                f"{self.address} answered {method} {path} with what is no JSON: {body[:80]!r}",
                hint="Is it the port of the guest's REST API?",
            ) from error

    def raw(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        files: Any = None,
        timeout: float | None = None,
    ) -> bytes:
        """Send a request and return the answer's body as it came. See `request`."""
        with self.stream(method, path, params, files=files, timeout=timeout) as answer:
            return answer.body()

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        files: Any = None,
        timeout: float | None = None,
    ) -> Iterator[Response]:
        """Send a request; yield its answer, whose body is still to be read. See `request`.

        A range of bytes behind the end (HTTP status 416) is an answer, too.
        """
        self.wait()
        with self._http.stream(
            method,
            path,
            params=_written(params),
            headers=headers,
            files=files,
            seconds=self.timeout if timeout is None else timeout,
        ) as answer:
            if answer.status >= 400 and answer.status != RANGE_NOT_SATISFIABLE:
                raise refusal(answer.status, answer.body(), method, path)
            yield answer

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the server answers, if that was not seen yet.

        Raises
        ------
        GuestUnreachableError
            It did not start in time, or the guest has ended.
        """
        seconds = self.timeout if timeout is None else timeout
        deadline = Deadline(seconds)
        while not self._ready:
            try:
                with self._http.stream("GET", "/os/version", seconds=max(deadline.seconds, RETRY)) as answer:
                    answer.body()
                self._ready = True
            except GuestUnreachableError:
                if deadline.passed or self._ended() is not None:
                    raise
                time.sleep(RETRY)  # an interval between looks, not a wait for a result
        return self

    @property
    def ended(self) -> str | None:
        """How the guest has ended; None while it runs, and where nobody can tell."""
        return self._ended()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address.url()}>"


def _written(params: Mapping[str, Any] | None) -> dict[str, str] | None:
    def text(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    return {name: text(value) for name, value in (params or {}).items() if value is not None} or None


def refusal(status: int, body: bytes, method: str, path: str) -> RestError:
    """Return the error that an answer's status and body amount to."""
    try:
        said = str(loads(body)["message"])
    except (ValueError, TypeError, KeyError):
        said = body[:200].decode(errors="replace").strip()
    kind = RestNotFoundError if status == 404 else RestError
    hint = "Give the server's token: Rest(..., token=)." if status == 401 else None
    return kind(f"{method} {path}: the guest says {status}: {said or '(nothing)'}", status, hint)
