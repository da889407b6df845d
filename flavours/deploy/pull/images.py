"""An image as it comes: what it is, its first bytes, and then all of it, once."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

from dibo.formats import magic
from pull import compressed, qcow2
from pull.cmdline import Wish
from pull.errors import PullError
from pull.reference import Artefact, File, basic, parse
from pull.registry import Registry
from pull.target import BEGINNING
from pull.web import CHUNK, Answer, Client, Request, Stream, host_of, ranged, read_range

Progress = Callable[[int, "int | None"], None]
"""Is told how many bytes have come, and how many there are."""


class Input:
    """The bytes of an image as they are stored."""

    def __init__(self, request: Request, client: Client, *, size: int | None, digest: str, host: str) -> None:
        """`size` where it is known beforehand. Raises PullError."""
        self.digest = digest
        self._request, self._patience, self._host = request, client.patience, host
        self._stream = Stream(request, client.patience, size, host)
        self._hash = hashlib.new(digest.partition(":")[0])
        self.head = b""
        while len(self.head) < BEGINNING and (piece := self._stream.read(BEGINNING - len(self.head))):
            self.head += piece
        self.size = self._stream.size

    def pieces(self, progress: Progress) -> Iterator[bytes]:
        """All of it, from the first byte."""
        come = 0
        rest = iter(lambda: self._stream.read(CHUNK), b"")
        for piece in itertools.chain([self.head] if self.head else [], rest):
            self._hash.update(piece)
            come += len(piece)
            progress(come, self.size)
            yield piece

    def range(self, offset: int, size: int) -> bytes:
        """Some bytes, besides the stream."""
        if offset + size <= len(self.head):
            return self.head[offset : offset + size]
        return read_range(self._request, self._patience, offset, size, self._host)

    def check(self) -> None:
        """Whether all that came is what was wanted. Raises PullError."""
        found = f"{self._hash.name}:{self._hash.hexdigest()}"
        if found != self.digest:
            raise PullError(f"digest mismatch: the image has {found}, wanted {self.digest}: do not use it")

    def close(self) -> None:
        self._stream.close()


class Raw:
    """A disk as it is, perhaps compressed as a whole."""

    def __init__(self, source: Input, kind: str, progress: Progress) -> None:
        pieces = source.pieces(progress)
        self._pieces = _blocks(compressed.decompress(kind, pieces) if kind else pieces)
        self.beginning = next(self._pieces, b"")
        self.size = None if kind else source.size
        self.came = 0

    def gaps(self) -> Iterator[tuple[int, int]]:
        """Nothing is left out."""
        return iter(())

    def contents(self) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes)."""
        for block in itertools.chain([self.beginning] if self.beginning else [], self._pieces):
            yield self.came, block
            self.came += len(block)


class Sparse:
    """A qcow2."""

    def __init__(self, source: Input, progress: Progress, *, room: int) -> None:
        if source.size is None:
            raise PullError(
                "the server does not say how large the file is, which a qcow2 needs: take another server"
            )
        self._source, self._progress = source, progress
        self._qcow2 = qcow2.Qcow2(source.range, source.size, room=room)
        self.beginning = self._qcow2.beginning(BEGINNING)
        self.size = self.came = self._qcow2.size

    def gaps(self) -> Iterator[tuple[int, int]]:
        """(offset, size) of what reads as zeros."""
        return self._qcow2.gaps()

    def contents(self) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes)."""
        return self._qcow2.unpack(self._source.pieces(self._progress))


def open_input(wish: Wish, client: Client) -> Input:
    """What `image=` names. Raises PullError."""
    place = parse(wish.image)
    return (
        _of_registry(place, wish, client) if isinstance(place, Artefact) else _of_server(place, wish, client)
    )


def open_image(source: Input, wish: Wish, progress: Progress, *, room: int) -> Raw | Sparse:
    """The disk in it, for a disk of `room` bytes. Raises PullError for what is none."""
    if magic.disk_format(source.head) == "qcow2" and wish.format != "raw":
        return Sparse(source, progress, room=room)
    if wish.format == "qcow2":
        raise PullError("the image is no qcow2, and image_format= says so")
    raw = Raw(source, compressed.kind_of(source.head), progress)
    if not wish.format:
        _check_is_disk(raw.beginning)
    return raw


def _check_is_disk(head: bytes) -> None:
    anyway = "image_format=raw writes it nonetheless"
    if magic.disk_format(head) == "qcow2":
        raise PullError("the image is a qcow2, compressed once more: a qcow2 is compressed within; unpack it")
    if kind := magic.disk_format(head):
        raise PullError(f"the image is a disk of the format {kind}; raw and qcow2 are known; {anyway}")
    if kind := magic.compression(head):
        raise PullError(f"the image is compressed by {kind}; gzip, xz and zstd are known; {anyway}")
    if magic.has_partition_table(head):
        return
    if kind := magic.archive(head):
        raise PullError(f"the image is a {kind}, not a disk: `dibo convert` makes disks of roots; {anyway}")
    if not magic.file_system(head):
        raise PullError(f"the image has no partition table and no file system that is known; {anyway}")


def _of_registry(artefact: Artefact, wish: Wish, client: Client) -> Input:
    registry = Registry(client, artefact, wish)
    blob = registry.blob()
    if wish.digest and wish.digest != blob.digest:
        raise PullError(
            f"digest mismatch: {artefact.shown} has {blob.digest}, image_digest= wants {wish.digest}"
        )
    return Input(
        lambda first, last: registry.request(blob, first, last),
        client,
        size=blob.size,
        digest=blob.digest,
        host=artefact.host,
    )


def _of_server(file: File, wish: Wish, client: Client) -> Input:
    login = file.login
    if wish.token:
        login = f"Bearer {wish.token}"
    elif wish.user:
        login = basic(wish.user, wish.password)

    def request(first: int, last: int | None) -> Answer:
        answer = client.ask("GET", file.url, headers=ranged(first, last), login=login)
        if answer.status in (200, 206, 416):
            return answer
        with answer:
            raise PullError(f"{host_of(file.url)} answered {answer.status} for {file.shown}")

    digest = wish.digest or _digest_beside(file, client, login)
    return Input(request, client, size=None, digest=digest, host=host_of(file.url))


def _digest_beside(file: File, client: Client, login: str) -> str:
    """From NAME.sha256, as sha256sum(1) writes it: for what comes over TLS."""
    parts = urlsplit(file.url)
    if parts.scheme != "https":
        raise PullError(
            f"image_digest=sha256:… is wanted: nothing else says what should come for {file.shown}"
        )
    url = urlunsplit(parts._replace(path=f"{parts.path}.sha256"))

    def once() -> str:
        with client.ask("GET", url, login=login) as answer:
            return answer.whole(1 << 20).decode(errors="replace") if answer.status == 200 else ""

    name = parts.path.rpartition("/")[2]
    lines = [line.split() for line in client.patience.patiently(once).splitlines()]
    known = [words for words in lines if words and re.fullmatch(r"[0-9a-fA-F]{64}", words[0])]
    for words in known:
        if len(known) == 1 or words[-1].lstrip("*").rpartition("/")[2] == name:
            return f"sha256:{words[0].lower()}"
    raise PullError(
        f"the digest of {file.shown} is not known: image_digest=sha256:…, or a file {name}.sha256 beside it"
    )


def _blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pieces of a mebibyte; the last may be shorter."""
    waiting: list[bytes] = []
    have = 0
    for piece in pieces:
        waiting.append(piece)
        have += len(piece)
        if have >= BEGINNING:
            whole = b"".join(waiting)
            cut = len(whole) - len(whole) % BEGINNING
            for start in range(0, cut, BEGINNING):
                yield whole[start : start + BEGINNING]
            waiting, have = [whole[cut:]], len(whole) - cut
    if have:
        yield b"".join(waiting)
