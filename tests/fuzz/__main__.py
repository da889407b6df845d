"""`make fuzz`: layers that are broken at random, for FUZZ_MINUTES (10), on FUZZ_SEED if that is given.

Each round makes a few layers, mostly right, breaks their headers, archives and compressed streams, and loads them with
small limits. What may happen: a tree, or an error of the BaseError family, within seconds and bounded memory. Anything
else stops the run, with the number of the round: FUZZ_SEED=that number goes there again.
"""

from __future__ import annotations

import gzip
import os
import random
import resource
import sys
import threading
import time
from collections.abc import Callable

import zstandard

from dibo.errors import BaseError
from dibo.images.image import Layer
from dibo.images.layers.limits import KIB, MIB, Limits
from dibo.images.layers.load import LoadOptions, load
from dibo.tree.node import Buffer
from tests.support.images import tar_layers
from tests.support.images.tar_layers import stored_layer

SECONDS = 20.0
MEMORY = 400 * MIB
LIMITS = Limits(
    entries=2000,
    layer_bytes=8 * MIB,
    image_bytes=16 * MIB,
    file_bytes=8 * MIB,
    header_bytes=64 * KIB,
    window_bytes=MIB,
)
NAMES = (
    b"a",
    b"b",
    b"c",
    b"d/",
    b"d",
    b".",
    b"..",
    b".wh.a",
    b".wh..wh..opq",
    b".wh.",
    b"\xff",
    b"n" * 99,
    b"",
)
NUMBERS = (
    b"",
    b"7",
    b"-1",
    b"77777777777",
    b"\xff" * 12,
    b"\x80" + b"\xff" * 11,
    b"\x80" + bytes(10) + b"\x09",
    b" 1 ",
)
KEYWORDS = (
    b"path linkpath size uid gid mtime hdrcharset GNU.sparse.major GNU.sparse.minor GNU.sparse.name"
    b" GNU.sparse.realsize GNU.sparse.size GNU.sparse.map GNU.sparse.offset GNU.sparse.numbytes SCHILY.xattr.user.a"
    b" SCHILY.xattr.security.capability LIBARCHIVE.xattr.user.%41 SCHILY.acl.access"
).split()
VALUES = (
    b"",
    b"0",
    b"1",
    b"-1",
    b"1.5",
    b"512",
    b"99999999999999999999",
    b"a/b",
    b"../x",
    b"0,1,5,1",
    b"nan",
    b"u::rwx",
    b"=",
)


class Counting:
    """Contents that are counted and not kept: holes would fill memory."""

    def __init__(self) -> None:
        self._left = 0

    def begin(self, size: int) -> object:
        assert self._left == 0, "a file is not as long as it said"
        self._left = size
        return size

    def write(self, data: Buffer) -> None:
        self.skip(len(data))

    def skip(self, size: int) -> None:
        assert 0 < size <= self._left, "a file is longer than it said"
        self._left -= size

    def flush(self) -> None:
        pass

    def release(self, content: object) -> None:
        assert content


class Round:
    """One round: all that is random in it comes from its number."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def path(self) -> bytes:
        return b"/".join(self.random.choice(NAMES) for _ in range(self.random.randint(1, 3)))

    def entry(self) -> bytes:
        choice = self.random.choice
        match self.random.randrange(8):
            case 0:
                pairs = [
                    (choice(KEYWORDS), choice((*VALUES, self.path())))
                    for _ in range(self.random.randint(1, 5))
                ]
                return tar_layers.pax(*pairs, kind=choice((b"x", b"x", b"g")))
            case 1:
                return tar_layers.long(choice((b"L", b"K")), self.path())
            case 2:
                return tar_layers.symlink(self.path()[:100], self.path()[:100])
            case 3:
                return tar_layers.hardlink(self.path()[:100], self.path()[:100])
            case 4:
                return tar_layers.directory(self.path()[:100], self.random.randrange(0o10000))
            case 5:
                return self.odd()
            case _:
                return tar_layers.file(
                    self.path()[:100], self.random.randbytes(self.random.choice((0, 1, 511, 512, 3000)))
                )

    def odd(self) -> bytes:
        """A header of any type, with numbers of any kind, perhaps with a map of a sparse file."""
        choice = self.random.choice
        kind = self.random.choice(b"0123456789SxgLKDVMNAXq\0").to_bytes()
        tail = self.random.randbytes(167) if self.random.random() < 0.3 else None
        fields = {
            name: choice(NUMBERS)[:width]
            for name, width in (("size", 12), ("mtime", 12), ("uid", 8), ("gid", 8), ("mode", 8))
            if self.random.random() < 0.3
        }
        magic = choice((tar_layers.USTAR, tar_layers.GNU, tar_layers.V7))
        data = tar_layers.padded(self.random.randbytes(choice((0, 0, 600))))
        return tar_layers.header(self.path()[:100], kind, magic=magic, tail=tail, **fields) + data  # type: ignore[arg-type]

    def broken(self, data: bytes) -> bytes:
        """`data` with some bytes changed, cut, doubled, or put elsewhere; often as it is."""
        found = bytearray(data)
        while found and self.random.random() < 0.4:
            place = self.random.randrange(len(found))
            length = self.random.choice((1, 4, 512, len(found)))
            match self.random.randrange(5):
                case 0:
                    found[place] ^= 1 << self.random.randrange(8)
                case 1:
                    del found[place : place + length]
                case 2:
                    found[place:place] = found[place : place + length]
                case 3:
                    found[place : place + length] = self.random.randbytes(min(length, 512))
                case _:
                    del found[place:]
        return bytes(found)

    def layer(self) -> Layer:
        entries = [self.entry() for _ in range(self.random.randint(0, 12))]
        tar = self.broken(b"".join(entries) + self.random.choice((tar_layers.END, b"", bytes(512))))
        stored = self.random.choice(COMPRESSIONS)(tar)
        if self.random.random() < 0.4:
            stored = self.broken(stored)
        right = self.random.random() < 0.7
        return stored_layer(stored, tar if right else None)


def _bomb(tar: bytes) -> bytes:
    return gzip.compress(tar + bytes(12 * MIB), 1)


COMPRESSIONS: tuple[Callable[[bytes], bytes], ...] = (
    lambda tar: tar,
    lambda tar: gzip.compress(tar, 1),
    lambda tar: gzip.compress(tar[:700], 1) + gzip.compress(tar[700:], 0),
    lambda tar: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(tar),
    lambda tar: zstandard.ZstdCompressor(level=1).compress(tar[:700]) + zstandard.compress(tar[700:]),
    _bomb,
)


def run(seed: int) -> str:
    """One round, and how it ended, in a word. Whatever should not happen is raised."""
    this = Round(seed)
    layers = [this.layer() for _ in range(this.random.randint(1, 4))]
    started = time.monotonic()
    try:
        load(layers, Counting(), LoadOptions(limits=LIMITS, keep=(b"a",)))
    except BaseError as error:
        word = type(error).__name__
    else:
        word = "tree"
    assert time.monotonic() - started < SECONDS, "too slow"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("layer-")], (
        "a thread stayed"
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB < MEMORY, "too much memory"
    return word


def main() -> None:
    end = time.monotonic() + 60 * float(os.environ.get("FUZZ_MINUTES", "10"))
    first = os.environ.get("FUZZ_SEED")
    seed = random.SystemRandom().randrange(1 << 48) if first is None else int(first)
    ends: dict[str, int] = {}
    while time.monotonic() < end:
        try:
            word = run(seed)
        except BaseException:
            print(f"round {seed} went wrong: FUZZ_SEED={seed} make fuzz", file=sys.stderr)
            raise
        ends[word] = ends.get(word, 0) + 1
        seed += 1
    print(", ".join(f"{word}: {count}" for word, count in sorted(ends.items())))


if __name__ == "__main__":
    main()
