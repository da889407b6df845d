"""The uncompressed kernel in what distributions install: an ELF file for x86, an `Image` for arm64 and riscv64.

    bzImage (x86)   0x1f1 u8 sectors of setup, 0x202 "HdrS", u16 version; from 2.08 on 0x248 u32 offset of the payload
                    from the protected-mode code, 0x24c u32 its length; the last four bytes are the unpacked size
    EFI zboot       0 "MZ", 4 "zimg", 8 u32 offset of the payload, 12 u32 its length; 24 how it is compressed
    Image           0x38 "ARM\\x64" (arm64) or "RSC\\x05" (riscv64): nothing to unpack; also within gzip

All numbers little-endian. The kernel's Documentation/arch/x86/boot.rst, arch/arm64/booting.rst, arch/riscv/
boot-image-header.rst, drivers/firmware/efi/libstub/zboot-header.S.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

from dibo.formats import magic
from dibo.formats.kernels import lz4, lzo
from dibo.formats.kernels.errors import KernelImageError
from dibo.units import MIB

LIMIT: Final = 512 * MIB
"""Bytes of a kernel, unpacked. One with everything built in has about 300 MiB."""
_SETUP_SECTORS_AT, _HEADER_AT, _VERSION_AT, _PAYLOAD_AT = 0x1F1, 0x202, 0x206, 0x248
_FIRST_WITH_PAYLOAD: Final = 0x0208
_SECTOR: Final = 512
_ZBOOT_SIZE: Final = 64
_IMAGE_MAGIC_AT: Final = 0x38
_IMAGES: Final = (b"ARM\x64", b"RSC\x05")
_LZMA: Final = b"\x5d\x00\x00"
_XZ_MEMORY: Final = 256 * MIB
"""Bytes. The kernel's build uses a dictionary of 128 MiB at most (scripts/xz_wrap.sh); a header can ask for 4 GiB."""
_ZSTD_WINDOW: Final = 128 * MIB
"""The kernel's build uses `zstd --ultra -22`, whose window is as large as that."""


def uncompressed(kernel: bytes) -> bytes:
    """The kernel itself. Raises KernelImageError for what is none, or is damaged."""
    if kernel.startswith(magic.ELF) or _is_image(kernel):
        return kernel
    if len(kernel) >= _ZBOOT_SIZE and kernel[4:8] == b"zimg" and kernel.startswith(magic.PE):
        offset, length = struct.unpack_from("<II", kernel, 8)
        return _checked(_unpacked(_part(kernel, offset, length)))
    if kernel[_HEADER_AT : _HEADER_AT + 4] == b"HdrS":
        return _checked(_unpacked(_payload(kernel)))
    if kernel.startswith(magic.GZIP):
        return _checked(_unpacked(kernel))
    raise KernelImageError("is no kernel that dibo knows: no bzImage, EFI zboot image, ELF file or Image")


def _payload(kernel: bytes) -> bytes:
    version = int.from_bytes(kernel[_VERSION_AT : _VERSION_AT + 2], "little")
    if version < _FIRST_WITH_PAYLOAD or len(kernel) < _PAYLOAD_AT + 8:
        raise KernelImageError(
            "is a bzImage from before Linux 2.6.26, which does not say where its payload is"
        )
    offset, length = struct.unpack_from("<II", kernel, _PAYLOAD_AT)
    start = ((kernel[_SETUP_SECTORS_AT] or 4) + 1) * _SECTOR
    return _part(kernel, start + offset, length)


def _part(kernel: bytes, offset: int, length: int) -> bytes:
    if not length or offset + length > len(kernel):
        raise KernelImageError("ends before its payload does")
    return kernel[offset : offset + length]


def _is_image(data: bytes) -> bool:
    return data[_IMAGE_MAGIC_AT : _IMAGE_MAGIC_AT + 4] in _IMAGES


def _checked(data: bytes) -> bytes:
    if not data.startswith(magic.ELF) and not _is_image(data):
        raise KernelImageError("holds no kernel where it should")
    return data


def _unpacked(data: bytes) -> bytes:
    for start, unpack in _UNPACKERS:
        if data.startswith(start):
            return unpack(data)
    if data.startswith(magic.ELF):  # CONFIG_KERNEL_UNCOMPRESSED
        return data
    raise KernelImageError(
        f"is compressed in a way that dibo does not know: it begins with {data[:6].hex(' ')}"
    )


def _by_library(make: Callable[[], Any]) -> Callable[[bytes], bytes]:
    """By a decompressor of Python's: what follows the data is left."""

    def unpack(data: bytes) -> bytes:
        reader = make()
        try:
            unpacked: bytes = reader.decompress(data, LIMIT)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise KernelImageError(f"is damaged: {error}") from error
        if not reader.eof:
            raise KernelImageError(
                f"unpacks to more than {LIMIT} bytes" if len(unpacked) >= LIMIT else "ends too early"
            )
        return unpacked

    return unpack


def _zstd(data: bytes) -> bytes:
    import zstandard

    try:
        with zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(data) as stream:
            unpacked = stream.read(LIMIT + 1)
    except zstandard.ZstdError as error:
        raise KernelImageError(f"is damaged: {error}") from error
    if len(unpacked) > LIMIT:
        raise KernelImageError(f"unpacks to more than {LIMIT} bytes")
    return unpacked


_UNPACKERS: Final[tuple[tuple[bytes, Callable[[bytes], bytes]], ...]] = (
    (magic.GZIP, _by_library(lambda: zlib.decompressobj(zlib.MAX_WBITS | 16))),
    (magic.XZ, _by_library(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY))),
    (_LZMA, _by_library(lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_XZ_MEMORY))),
    (magic.BZIP2, _by_library(bz2.BZ2Decompressor)),
    (magic.ZSTD, _zstd),
    (lz4.MAGIC, lambda data: lz4.decompress(data, limit=LIMIT)),
    (lzo.MAGIC, lambda data: lzo.decompress(data, limit=LIMIT)),
)
