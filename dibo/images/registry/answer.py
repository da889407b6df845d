"""What is sent to a registry and what comes back: bodies as streams, read at no less than a lowest rate."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Final, Self
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from dibo.errors import RegistryError, Unreachable
from dibo.images.image import Reader
from dibo.system.retry import RateGuard, RetryPolicy, Transient

CHUNK: Final = 1 << 20
OFFLINE: Final = "check the network, the name of the registry, and the proxies (https_proxy, no_proxy)"
_PIECE: Final = 1 << 17
"""Sent at once; the time-out holds for each piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What to send: `size` bytes, opened once for each try."""

    source: Callable[[], AbstractContextManager[Reader]]
    size: int

    @property
    def len(self) -> int:
        """What requests asks for the Content-Length."""
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        left = self.size
        with self.source() as stream:
            while left and (piece := stream.read(min(_PIECE, left))):
                left -= len(piece)
                yield piece
        if left:
            raise RegistryError(f"what was to be sent ended {left} bytes early")


class Answer:
    """A response whose body is read here; a broken connection is Transient."""

    def __init__(self, response: Any, policy: RetryPolicy) -> None:
        self._response = response
        self._policy = policy
        self._guard = RateGuard(policy)
        self.status = self.status_code = int(response.status_code)
        self.text = ""  # oras writes it into its log

    @property
    def url(self) -> str:
        """Where it came from: another address than was asked, after a redirect."""
        return str(self._response.url)

    def header(self, name: str) -> str:
        return str(self._response.headers.get(name, ""))

    @property
    def length(self) -> int | None:
        """Bytes of the body, None where the server does not say so."""
        text = self.header("Content-Length")
        return int(text) if text.isdecimal() else None

    @property
    def following(self) -> str:
        """The address of the next page, or nothing (RFC 8288)."""
        return str(self._response.links.get("next", {}).get("url", ""))

    def require_rate(self, slowest: int) -> None:
        """Fail the transfer if it is slower than `slowest` bytes a second."""
        self._guard = RateGuard(replace(self._policy, slowest=max(slowest, self._policy.slowest)))

    def read(self, size: int, /) -> bytes:
        """`size` bytes as they are stored, fewer at the end. Raises Transient when the connection breaks, Unreachable
        when bytes come more slowly than the policy allows."""
        pieces: list[bytes] = []
        while size > 0 and (piece := self._piece(size)):
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, size: int) -> bytes:
        """What one read from the connection brings."""
        host = urlsplit(self.url).netloc
        try:
            data, too_slow = self._guard.is_too_slow(lambda: bytes(self._response.raw.read1(size)))
        except (HTTPError, OSError) as error:
            self.close()
            raise Transient(Unreachable(f"{host} broke off: {cause_of(error)}", hint=OFFLINE)) from error
        if too_slow:
            self.close()
            raise Unreachable(f"{host} sends {self._guard.rate} and is given up", hint=OFFLINE)
        return data

    def whole(self, limit: int) -> bytes:
        """The body, or its first `limit` bytes."""
        pieces = []
        while limit > 0 and (piece := self.read(limit)):
            pieces.append(piece)
            limit -= len(piece)
        return b"".join(pieces)

    def json(self) -> dict[str, Any]:
        """A body of at most 16 MiB; empty when it is no JSON object."""
        with contextlib.suppress(ValueError, RecursionError):
            document = json.loads(self.whole(16 << 20))
            if isinstance(document, dict):
                return document
        return {}

    def close(self) -> None:
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def cause_of(error: BaseException) -> str:
    """The innermost reason: requests and urllib3 wrap it several times, and say where in memory they are."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        inner = [getattr(current, "reason", None), *current.args, current.__cause__, current.__context__]
        current = next((reason for reason in inner if isinstance(reason, BaseException)), None)
    for reason in chain:
        if isinstance(reason, OSError) and reason.strerror:
            return reason.strerror
    return str(chain[-1]) or type(chain[-1]).__name__
