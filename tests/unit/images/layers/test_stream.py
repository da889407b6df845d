"""The bytes of layers: lies about sizes and digests, cuts, compressions, bombs; and that no thread stays behind."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import random
import threading
from collections.abc import Callable, Iterator

import pytest
import zstandard

from dibo.errors import BaseError, Interrupted, LayerError, Unreachable, VerificationFailed
from dibo.images.image import Layer, Reader
from dibo.images.layers.limits import MIB, Limits
from dibo.images.layers.load import LoadOptions, load, load_tar
from tests.support.images.tar_layers import (
    COMPRESS,
    END,
    MemorySink,
    digest,
    file,
    layer,
    listing,
    stored_layer,
)

pytestmark = pytest.mark.slow

RANDOM = random.Random(3).randbytes(3 * MIB + 77)
SMALL = file(b"a", b"content of a") + file(b"b", b"x" * 700) + END
ALL = pytest.mark.parametrize("compression", COMPRESS)


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("layer-")] == []


class Slow:
    """Gives at most `most` bytes at once, and raises `error` after `after`, in place of the end."""

    def __init__(
        self, data: bytes, most: int = 1 << 30, after: int = 1 << 60, error: BaseException | None = None
    ) -> None:
        self._data = io.BytesIO(data)
        self._most = most
        self._after = after
        self._error = error

    def read(self, size: int, /) -> bytes:
        if self._error and self._data.tell() >= self._after:
            raise self._error
        return self._data.read(min(size, self._most))


def from_reader(like: Layer, reader: Callable[[bytes], Reader]) -> Layer:
    with like.open() as whole:
        data = whole.read(1 << 30)
    return dataclasses.replace(like, open=lambda: contextlib.nullcontext(reader(data)))


@ALL
def test_content_arrives(compression: str) -> None:
    memory = MemorySink()
    tree = load([layer(file(b"a", RANDOM), file(b"b", b"1"), compression=compression)], memory)
    assert memory.files == [RANDOM, b"1"]
    assert tree.warnings == ()


@ALL
@pytest.mark.parametrize("most", [1, 7, 511])
def test_short_reads(compression: str, most: int) -> None:
    memory = MemorySink()
    load([from_reader(layer(SMALL, end=b"", compression=compression), lambda data: Slow(data, most))], memory)
    assert memory.files == [b"content of a", b"x" * 700]


def several_members(data: bytes) -> bytes:
    return gzip.compress(data[:100]) + gzip.compress(b"") + gzip.compress(data[100:])


def several_frames(data: bytes) -> bytes:
    compress = zstandard.ZstdCompressor().compress
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
    return skippable + compress(data[:100]) + compress(b"") + skippable + compress(data[100:]) + skippable


@pytest.mark.parametrize(
    "stored",
    [
        several_members(SMALL),
        several_frames(SMALL),
        gzip.compress(SMALL) + bytes(700),
        gzip.compress(SMALL[:-1024]),
    ],
    ids=["gzip members", "zstd frames", "zeros after gzip", "no end of archive"],
)
def test_ways_to_store(stored: bytes) -> None:
    memory = MemorySink()
    tree = load([stored_layer(stored)], memory)
    assert listing(tree, memory) == {"a": "content of a", "b": "x" * 700}


def test_the_media_type_is_not_believed() -> None:
    odd = dataclasses.replace(
        layer(SMALL, end=b"", compression="zstd"),
        media_type="application/vnd.docker.image.rootfs.diff.tar.gzip",
    )
    (warning,) = load([odd], MemorySink()).warnings
    assert "is zstd, though its media type is application/vnd.docker.image.rootfs.diff.tar.gzip" in warning


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "",
    ],
)
def test_the_right_media_type(media_type: str) -> None:
    right = dataclasses.replace(layer(SMALL, end=b"", compression="zstd"), media_type=media_type)
    assert load([right], MemorySink()).warnings == ()


@pytest.mark.parametrize(
    ("media_type", "words"),
    [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "foreign"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "foreign"),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "encrypted"),
    ],
)
def test_layers_nobody_can_read(media_type: str, words: str) -> None:
    with pytest.raises(LayerError, match=words) as caught:
        load([dataclasses.replace(layer(SMALL, end=b""), media_type=media_type)], MemorySink())
    assert caught.value.hint


@pytest.mark.parametrize(
    ("start", "name"), [(b"\xfd7zXZ\0", "xz"), (b"BZh9", "bzip2"), (b"\x04\x22\x4d\x18", "lz4")]
)
def test_other_compressions(start: bytes, name: str) -> None:
    with pytest.raises(LayerError, match=name):
        load([stored_layer(start + bytes(1000))], MemorySink())


# Lies


def lie(compression: str, **changes: object) -> Layer:
    return dataclasses.replace(layer(SMALL, end=b"", compression=compression), **changes)  # type: ignore[arg-type]


OTHER = digest(b"other")


@ALL
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("digest", OTHER, "as stored"),
        ("diff_id", OTHER, "unpacked"),
        ("digest", "sha512:" + "0" * 128, "as stored"),
        ("size", 1, "longer than the 1 bytes"),
        ("size", 1_000_000, "of 1000000 bytes"),
    ],
)
def test_lies(compression: str, field: str, value: object, words: str) -> None:
    with pytest.raises(VerificationFailed, match=words) as caught:
        load([lie(compression, **{field: value})], MemorySink())
    assert "sha" in caught.value.message


@ALL
def test_off_by_one(compression: str) -> None:
    size = lie(compression).size
    assert size is not None
    for wrong in (size - 1, size + 1):
        with pytest.raises(VerificationFailed):
            load([lie(compression, size=wrong)], MemorySink())


@ALL
def test_sha512(compression: str) -> None:
    right = lie(compression, diff_id="sha512:" + hashlib.sha512(SMALL).hexdigest())
    load([right], MemorySink())


@pytest.mark.parametrize(
    "wrong", ["md5:" + "0" * 32, "sha256:12", "sha256", "", "../../etc:x", "sha256:" + "0" * 128]
)
def test_digests_that_are_none(wrong: str) -> None:
    with pytest.raises(LayerError, match="is not a digest"):
        load([lie("", digest=wrong)], MemorySink())


def test_a_reader_is_not_read_beyond_the_size() -> None:
    asked = []

    class Endless:
        def read(self, size: int, /) -> bytes:
            asked.append(size)
            return bytes(size)

    endless = dataclasses.replace(lie(""), open=lambda: contextlib.nullcontext(Endless()))
    with pytest.raises(VerificationFailed, match="longer"):
        load([endless], MemorySink())
    assert sum(asked) == len(SMALL) + 1


@ALL
def test_each_cut_is_found(compression: str) -> None:
    """With sizes and digests right for the whole, and for what is left after the cut."""
    whole = COMPRESS[compression](SMALL)
    honest = lie(compression)
    for length in sorted({*range(0, len(whole), 97), *range(20), *range(len(whole) - 20, len(whole))}):
        cut = whole[:length]
        with pytest.raises(VerificationFailed):
            load([from_reader(honest, lambda data, cut=cut: io.BytesIO(cut))], MemorySink())  # type: ignore[misc]
        try:
            load([dataclasses.replace(stored_layer(cut), diff_id=digest(SMALL))], MemorySink())
        except BaseError:
            continue
        assert compression == "zstd", "a frame without its checksum passes, if the tar's digest is right"
        assert length >= len(whole) - 4


@ALL
def test_each_changed_byte_is_found(compression: str) -> None:
    whole = COMPRESS[compression](SMALL)
    for position in range(0, len(whole), 1 if compression else 101):
        changed = bytearray(whole)
        changed[position] ^= 0x41
        with pytest.raises(VerificationFailed):
            load([from_reader(lie(compression), lambda data, c=changed: io.BytesIO(c))], MemorySink())  # type: ignore[misc]
        if compression == "gzip" and position in range(3, 10):
            continue  # flags, time and system: they change nothing that comes out, or everything
        with contextlib.suppress(BaseError):
            load([stored_layer(bytes(changed))], MemorySink())


@pytest.mark.parametrize(
    "stored",
    [
        gzip.compress(SMALL, mtime=0) + b"garbage",
        gzip.compress(SMALL, mtime=0) + bytes(512) + b"x",
        gzip.compress(SMALL, mtime=0)[:-1],
        zstandard.compress(SMALL) + b"garbage",
        zstandard.compress(SMALL) + bytes(10),
        b"\x1f\x8b",
    ],
)
def test_damaged_compression(stored: bytes) -> None:
    with pytest.raises(VerificationFailed, match="cannot be decompressed"):
        load([stored_layer(stored)], MemorySink())


def test_the_digest_explains_what_else_is_wrong() -> None:
    """A changed header is no malformed layer, but a changed one."""
    broken = bytearray(SMALL * 5000)
    broken[0] ^= 1
    for compression in COMPRESS.values():
        stored = compression(bytes(broken))
        with pytest.raises(LayerError, match="checksum"):
            load([stored_layer(stored)], MemorySink())
        with pytest.raises(VerificationFailed, match="digest"):
            load([dataclasses.replace(stored_layer(stored), digest=OTHER)], MemorySink())


# Bombs


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_ends_soon(compression: str) -> None:
    limits = Limits(ratio=20, ratio_from=2 * MIB)
    bomb = layer(file(b"a", bytes(40 * MIB)), compression=compression)
    memory = MemorySink()
    with pytest.raises(LayerError, match="20 times its size") as caught:
        load([bomb], memory, LoadOptions(limits=limits))
    assert "--max-ratio" in caught.value.hint
    assert sum(map(len, memory.files)) < 4 * MIB
    load(
        [bomb], MemorySink(), LoadOptions(limits=Limits(ratio=20))
    )  # a swap file: little, and nothing but zeros


@ALL
def test_bytes_of_a_layer(compression: str) -> None:
    big = layer(file(b"a", RANDOM), compression=compression)
    with pytest.raises(LayerError, match="more than 2 MiB"):
        load([big], MemorySink(), LoadOptions(limits=Limits(layer_bytes=2 * MIB)))


def test_bytes_of_an_image() -> None:
    layers = [layer(file(b"%d" % number, bytes(MIB))) for number in range(4)]
    with pytest.raises(LayerError, match="unpacks to more"):
        load(layers, MemorySink(), LoadOptions(limits=Limits(image_bytes=4 * MIB)))
    load(layers, MemorySink(), LoadOptions(limits=Limits(image_bytes=5 * MIB)))


def test_layers_of_an_image() -> None:
    with pytest.raises(LayerError, match="the limit is 2"):
        load([layer()] * 3, MemorySink(), LoadOptions(limits=Limits(layers=2)))


def test_a_zstd_window_that_is_too_large() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    stored = compressor.compress(SMALL) + compressor.flush()
    with pytest.raises(VerificationFailed, match="memory"):
        load([stored_layer(stored)], MemorySink())
    load([stored_layer(stored)], MemorySink(), LoadOptions(limits=Limits(window_bytes=256 * MIB)))


# Ends


@ALL
@pytest.mark.parametrize("after", [0, 100, 2 * MIB])
def test_errors_of_the_reader_arrive(compression: str, after: int) -> None:
    unreachable = Unreachable("the registry is away")
    cut = from_reader(
        layer(file(b"a", RANDOM), file(b"b", RANDOM), compression=compression),
        lambda data: Slow(data, 50_000, after, unreachable),
    )
    with pytest.raises(Unreachable):
        load([cut], MemorySink())


def test_an_error_when_opening() -> None:
    def fail() -> contextlib.AbstractContextManager[Reader]:
        raise Unreachable("the registry is away")

    with pytest.raises(Unreachable):
        load([dataclasses.replace(lie(""), open=fail)], MemorySink())


@ALL
@pytest.mark.parametrize("calls", [1, 3])
def test_an_error_of_contents_or_a_signal_ends_all_threads(compression: str, calls: int) -> None:
    class Failing(MemorySink):
        left = calls

        def write(self, data: object) -> None:
            self.left -= 1
            if not self.left:
                raise Interrupted(2)

    closed = []

    @contextlib.contextmanager
    def opened() -> Iterator[Reader]:
        yield io.BytesIO(COMPRESS[compression](file(b"a", RANDOM * 4) + END))
        closed.append(1)

    big = Layer(open=opened, digest=None, size=None, diff_id=OTHER)
    with pytest.raises(Interrupted):
        load([big], Failing())
    assert len(closed) <= 1


def test_the_reader_is_closed_after_an_error() -> None:
    closed = []

    @contextlib.contextmanager
    def opened() -> Iterator[Reader]:
        try:
            yield io.BytesIO(b"x" * 5000)
        finally:
            closed.append(1)

    with pytest.raises(LayerError):
        load([Layer(open=opened, digest=None, size=None, diff_id=None)], MemorySink())
    assert closed == [1]


def test_a_root_without_digests() -> None:
    memory = MemorySink()
    tree = load_tar(io.BytesIO(SMALL), memory)
    assert listing(tree, memory) == {"a": "content of a", "b": "x" * 700}
    with pytest.raises(LayerError, match="ends"):
        load_tar(io.BytesIO(SMALL[:520]), MemorySink())


def test_progress_counts_bytes_as_stored() -> None:
    seen: list[int] = []
    layers = [layer(file(b"a", RANDOM)), layer(file(b"b", b"1"))]
    load(layers, MemorySink(), LoadOptions(progress=seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == sum(one.size or 0 for one in layers)
