"""HTTP with a guest: one connection that is kept where the guest keeps it, and one deadline a request.

The lab kernel's server speaks HTTP/1.1 and keeps connections; OSv's answers in HTTP/1.0
and closes. Behind QEMU's user network a connection opens even when nobody listens in the
guest, and is reset a moment later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

from osvlab.guest.address import Address, GuestError, GuestTimeoutError, GuestUnreachableError
from osvlab.guest.deadline import Deadline

__all__ = ["HttpClient", "Response"]


class HttpClient:
    """Sends requests to one address.

    Parameters
    ----------
    address
        Where the guest's server is reached.
    token
        A bearer token, if the server asks for one.
    ended
        Says why the guest has ended, None while it runs; asked when a request fails.
    """

    def __init__(
        self, address: Address, *, token: str | None = None, ended: Callable[[], str | None] | None = None
    ) -> None:
        self.address = address
        self._ended = ended or (lambda: None)
        self._client = httpx.Client(
            base_url=address.url(""),
            headers={"Authorization": f"Bearer {token}"} if token is not None else {},
            trust_env=False,  # no proxy stands between here and a guest
            follow_redirects=True,
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        files: Any = None,
    ) -> Iterator[Response]:
        """Send a request; yield the answer once its head is there.

        Raises
        ------
        GuestUnreachableError
            Nothing answers there.
        GuestTimeoutError
            Not within `seconds`, the body included.
        GuestError
            What answers does not speak HTTP.
        """
        deadline = Deadline(seconds)
        request = self._client.build_request(
            method, path, params=params, headers=headers, files=files, timeout=seconds
        )
        try:
            answer = self._client.send(request, stream=True)
            try:
                yield Response(answer, deadline)
            finally:
                answer.close()
        except httpx.TimeoutException as error:
            raise GuestTimeoutError(
                f"no answer from {self.address} to {method} {path} within {seconds:g} s",
                hint="Give it longer with timeout=, or look at the guest's console.",
            ) from error
        except httpx.TransportError as error:
            raise self._explain(error, method, path) from error

    def _explain(self, error: httpx.TransportError, method: str, path: str) -> GuestError:
        why = self._ended()
        if why is not None:
            return GuestUnreachableError(
                f"cannot ask {self.address} for {path}: the guest has ended ({why})",
                hint="Start it again; its console tells what happened.",
            )
        if isinstance(error, httpx.ConnectError | httpx.ReadError | httpx.WriteError) or (
            isinstance(error, httpx.RemoteProtocolError) and "without sending" in str(error)
        ):
            return GuestUnreachableError(
                f"nothing answers at {self.address}: {error}",
                hint="Is the server in the image (modules=['httpserver']), and has it started?",
            )
        return GuestError(
            f"{self.address} answered {method} {path} with what is no HTTP: {error}",
            hint="Is it the port of the guest's REST API?",
        )


class Response:
    """The answer to a request, whose body is read piece by piece under the request's deadline."""

    def __init__(self, answer: httpx.Response, deadline: Deadline) -> None:
        self._answer = answer
        self._deadline = deadline
        self.status: int = answer.status_code
        self.headers: Mapping[str, str] = answer.headers

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        for piece in self._answer.iter_raw():
            self._deadline.left(f"end of the answer from {self._answer.url}")
            yield piece

    def body(self) -> bytes:
        """Return the whole body."""
        return b"".join(self.pieces())
