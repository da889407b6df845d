"""What dibo asks of OCI registries (OCI distribution specification 1.1); how it is asked is
dibo.images.registry.client.

Manifests and small blobs come whole and checked; large blobs stream both ways in bounded memory, and a download that
broke off goes on where it was (Range). The reader of a stream checks its digest, which is known only after the last
byte.

`name` says the registry and the repository everywhere. All may raise Unreachable and RegistryError.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final
from urllib.parse import urlsplit

from dibo.errors import RegistryError, Unreachable, VerificationFailed
from dibo.images.image import Reader
from dibo.images.manifest import (
    INDEX_TYPES,
    LARGEST_MANIFEST,
    MANIFEST_TYPES,
    OCI_INDEX,
    checked,
    digest_of,
)
from dibo.images.reference import ImageName
from dibo.images.registry.client import CHUNK, OFFLINE, Answer, Body, Client, client
from dibo.system.retry import Transient

_ACCEPT: Final = {"Accept": ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))}
_MOST_PAGES: Final = 1000
_MOST_TAGS: Final = 1_000_000
MOST_REFERRERS: Final = 1000
"""Of one manifest; more are no set that anybody put there on purpose."""


def manifest(name: ImageName) -> tuple[str, dict[str, Any]]:
    """The digest and the manifest or index that `name` means. Raises VerificationFailed."""
    return checked(read_manifest(name), description=str(name), expected=name.digest)


def read_manifest(name: ImageName) -> bytes:
    """The manifest or index that `name` means, not checked."""
    return _small(name, f"manifests/{name.reference}", limit=LARGEST_MANIFEST)


def head(name: ImageName) -> str | None:
    """The digest of the manifest that `name` means, empty where the registry does not say; None when there is none."""
    with _ask("HEAD", name, f"manifests/{name.reference}", headers=_ACCEPT, fine=(200, 404)) as answer:
        return answer.header("Docker-Content-Digest") if answer.status == 200 else None


def read_small(name: ImageName, digest: str, *, limit: int) -> bytes:
    """A blob of at most `limit` bytes, checked. Raises VerificationFailed."""
    body = _small(name, f"blobs/{digest}", limit=limit)
    if len(body) > limit:
        raise RegistryError(f"{digest} of {name} is larger than {limit} bytes")
    if digest_of(body, digest.partition(":")[0]) != digest:
        raise VerificationFailed(
            f"registry {name.host} sent other bytes for {digest} of {name}",
            hint="do not use it; report it to the operator of the registry",
        )
    return body


def open_blob(name: ImageName, digest: str, size: int, *, slowest: int = 0) -> AbstractContextManager[Reader]:
    """The `size` bytes of a blob as a stream, unchecked; never more, and an error rather than fewer, or when they come
    more slowly than `slowest` bytes a second (or what DEFAULT_POLICY has)."""
    return _Blob(client(name), name, digest, size, slowest)


def exists(name: ImageName, digest: str) -> bool:
    """Whether the repository has a blob."""
    with _ask("HEAD", name, f"blobs/{digest}", fine=(200, 404)) as answer:
        return answer.status == 200


def size_of_blob(name: ImageName, digest: str) -> int | None:
    """How many bytes a blob has; None where the repository has none, or does not say."""
    with _ask("HEAD", name, f"blobs/{digest}", fine=(200, 404)) as answer:
        return answer.length if answer.status == 200 else None


def push_blob(
    name: ImageName,
    digest: str,
    size: int,
    source: Callable[[], AbstractContextManager[Reader]],
    *,
    mount_from: str = "",
) -> bool:
    """Put a blob of `size` bytes; `source` opens it, once for each try. False where nothing had to be sent, because
    the registry took it from its repository `mount_from`."""
    asked = client(name)
    mount = f"?mount={digest}&from={mount_from}" if mount_from else ""
    kind = {"Content-Type": "application/octet-stream"}

    def once() -> bool:
        with asked.ask("POST", name, f"blobs/uploads/{mount}", body=b"", fine=(202, 201)) as begun:
            if begun.status == 201:
                return False
            place = asked.place_of(begun.header("Location"), name)
        address = f"{place}{'&' if '?' in place else '?'}digest={digest}"
        body = Body(source=source, size=size) if size else b""
        asked.ask("PUT", name, address, headers=kind, body=body, fine=(201,)).close()
        return True

    return asked.with_retries(once)


def mount(name: ImageName, digest: str, *, mount_from: str) -> bool:
    """Whether the registry took a blob from its repository `mount_from`."""
    asked = client(name)
    place = f"blobs/uploads/?mount={digest}&from={mount_from}"
    with _ask("POST", name, place, body=b"", fine=(201, 202)) as answer:
        if answer.status == 201:
            return True
        unused = asked.place_of(answer.header("Location"), name)
    with contextlib.suppress(Transient, RegistryError):  # an upload that nobody will end
        asked.ask("DELETE", name, unused, fine=(204, 200, 202)).close()
    return False


def push_manifest(name: ImageName, body: bytes, media_type: str) -> str:
    """Put a manifest under the tag or digest of `name`; its digest."""
    kind = {"Content-Type": media_type}
    _ask("PUT", name, f"manifests/{name.reference}", headers=kind, body=body, fine=(201, 200)).close()
    return digest_of(body)


def push_referrer(name: ImageName, body: bytes, media_type: str) -> bool:
    """Put a manifest that has a `subject`; whether the registry lists it among the subject's referrers by itself, which
    it says by the header OCI-Subject."""
    kind = {"Content-Type": media_type}
    path = f"manifests/{name.reference}"
    with _ask("PUT", name, path, headers=kind, body=body, fine=(201, 200)) as answer:
        return bool(answer.header("OCI-Subject"))


def referrers(name: ImageName, digest: str) -> list[dict[str, Any]] | None:
    """The descriptors of all manifests whose subject is `digest`, unchecked; None where the registry has no list of
    them. Raises RegistryError for a list that does not end, or has more than MOST_REFERRERS."""
    listed: dict[str, dict[str, Any]] = {}
    path = f"referrers/{digest}"
    for _ in range(_MOST_PAGES):
        with _ask("GET", name, path, headers={"Accept": OCI_INDEX}, fine=(200, 404, 405)) as answer:
            page = answer.json().get("manifests") if answer.status == 200 else None
            following = answer.following
        if not isinstance(page, list):
            return list(listed.values()) if listed else None
        before = len(listed)
        listed.update((str(entry.get("digest")), entry) for entry in page if isinstance(entry, dict))
        if not following:
            return list(listed.values())
        path = f"referrers/{digest}?{_query(following)}"
        if len(listed) == before or len(listed) > MOST_REFERRERS:
            break
    raise RegistryError(
        f"registry {name.host} lists the referrers of {digest[:19]} in {name.repository} without end: "
        f"after {len(listed)} it names {path[:120]!r} as the next page",
        hint="report it to the operator of the registry",
    )


def tags(name: ImageName) -> tuple[str, ...]:
    """All tags of a repository; none when there is no such repository. Raises RegistryError for a list that does not
    end: a page that names itself as the next one, that brings nothing new, or one too many."""
    listed: dict[str, None] = {}
    path = "tags/list?n=1000"
    for _ in range(_MOST_PAGES):
        with _ask("GET", name, path, fine=(200, 404)) as answer:
            page = answer.json().get("tags") if answer.status == 200 else None
            before = len(listed)
            listed.update((str(tag), None) for tag in (page if isinstance(page, list) else ()))
            if answer.status == 404 or not answer.following:
                return tuple(listed)
            path = f"tags/list?{_query(answer.following)}"
            if len(listed) == before or len(listed) > _MOST_TAGS:
                break
    raise RegistryError(
        f"registry {name.host} lists the tags of {name.repository} without end: after "
        f"{len(listed)} tags it names {path[:80]!r} as the next page",
        hint="report it to the operator of the registry",
    )


def _query(address: str) -> str:
    try:
        return urlsplit(address).query
    except ValueError:
        raise RegistryError(
            f"the next page of a list is at {address[:80]!r}, which is no address",
            hint="report it to the operator of the registry",
        ) from None


def delete(name: ImageName) -> bool:
    """Delete the manifest that `name` means; False when it is gone already. The error's `status` is 405 where the
    registry deletes nothing."""
    with _ask("DELETE", name, f"manifests/{name.reference}", fine=(202, 200, 404)) as answer:
        return answer.status != 404


def _ask(method: str, name: ImageName, path: str, **more: Any) -> Answer:
    asked = client(name)
    return asked.with_retries(lambda: asked.ask(method, name, path, **more))


def _small(name: ImageName, path: str, *, limit: int) -> bytes:
    """A body, or its first `limit` + 1 bytes."""
    asked = client(name)

    def once() -> bytes:
        with asked.ask("GET", name, path, headers=_ACCEPT if path.startswith("manifests/") else {}) as answer:
            return answer.whole(limit + 1)

    return asked.with_retries(once)


class _Blob:
    """A download that goes on after a cut; a context manager and a Reader."""

    def __init__(self, asked: Client, name: ImageName, digest: str, size: int, slowest: int) -> None:
        self._slowest = slowest
        self._client, self._name, self._digest, self._size = asked, name, digest, size
        self._at = self._cut_at = self._cuts = 0
        self._answer: Answer | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, size: int, /) -> bytes:
        count = min(size, self._size - self._at)
        if count <= 0:
            return b""
        data = b""
        while not data:
            try:
                data = self._once(count)
            except Transient as transient:
                self._cut(transient)
        self._at += len(data)
        return data

    def _cut(self, transient: Transient) -> None:
        """Wait before going on, unless there were several cuts in a row with little between them."""
        if self._at - self._cut_at >= self._client.policy.progress:
            self._cuts = 0
        self._cut_at = self._at
        self._cuts += 1
        self._client.pause(transient, self._cuts - 1)

    def _once(self, size: int) -> bytes:
        try:
            if self._answer is None:
                self._answer = self._connect()
            data = self._answer.read(size)
        except Transient:
            self._close()
            raise
        if not data:
            self._close()
            problem = (
                f"registry {self._name.host} ended {self._digest} after {self._at} of {self._size} bytes"
            )
            raise Transient(
                RegistryError(problem, hint="the blob there may be damaged; push the image again")
            )
        return data

    def _connect(self) -> Answer:
        span = {"Range": f"bytes={self._at}-{self._size - 1}"} if self._at else {}
        fine = (200, 206) if self._at else (200,)
        answer = self._client.ask("GET", self._name, f"blobs/{self._digest}", headers=span, fine=fine)
        answer.require_rate(self._slowest)
        try:
            self._find_place(answer)
        except BaseException:
            answer.close()
            raise
        return answer

    def _find_place(self, answer: Answer) -> None:
        """Stand where the last cut was, also when the registry sends all from the start."""
        host = self._name.host
        if answer.status == 206:
            if not answer.header("Content-Range").startswith(f"bytes {self._at}-"):
                raise RegistryError(f"registry {host} sent another range of {self._digest} than asked for")
            return
        if answer.length is not None and answer.length != self._size:
            raise RegistryError(
                f"registry {host} has {answer.length} bytes for {self._digest}, wanted {self._size}",
                hint="do not use it; push the image again",
            )
        left = self._at
        while left:
            skipped = answer.read(min(left, CHUNK))
            if not skipped:
                raise Transient(Unreachable(f"registry {host} cut {self._digest} again", hint=OFFLINE))
            left -= len(skipped)

    def _close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None
