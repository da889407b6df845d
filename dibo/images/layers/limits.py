"""Limits for layers, which may come from anywhere.

What is kept in memory beside the tree, which has at most `entries` nodes, is bounded by `header_bytes`, `kept_bytes`,
`window_bytes` and a few MiB of buffers. The defaults are far above what images have (the largest of public registries
have some 30 GiB, 130 layers and 1,000,000 entries) and far below what hurts for longer than it takes to notice.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Crossing one is a LayerError that names it. Sizes are bytes."""

    layers: int = 512
    entries: int = 2_000_000
    """Of all layers together."""
    layer_bytes: int = 64 * GIB
    """Of one layer as it is unpacked, its headers included."""
    image_bytes: int = 128 * GIB
    """Of all layers together."""
    file_bytes: int = 16 * TIB
    """Of one file with its holes."""
    ratio: int = 1000
    """Unpacked to stored. Only gzip of nothing but zeros comes to this (1032)."""
    ratio_from: int = 8 * GIB
    """The ratio counts from so many unpacked bytes on: a swap file or a database may be nothing but zeros."""
    window_bytes: int = 128 * MIB
    """Memory that a zstd frame may ask for; `zstd --long` makes 128 MiB, the default at most 8."""
    header_bytes: int = MIB
    """Of all headers of one entry together, of what global headers say, and of the map of a sparse file."""
    global_records: int = 128
    """Records of global PAX headers: each of them costs time at each entry."""
    xattr_bytes: int = 64 * KIB
    """Names and values of one entry; the kernel's own limit of one value (XATTR_SIZE_MAX)."""
    held_bytes: int = 256 * MIB
    """Extended attributes, with 128 bytes for each, and targets of symlinks of all entries together: they are in
    memory, and in each artefact. What a global header says counts at each entry that has it."""
    name_bytes: int = 255
    """NAME_MAX."""
    path_bytes: int = 4096
    """PATH_MAX. Where links lead counts, too."""
    link_names: int = 1_000_000
    """Names that targets of symlinks add to the ways of all entries together, beyond the first 16 of each way
    (dibo.formats.paths.FREE_NAMES): some µs each."""
    depth: int = 256
    """Directories in each other."""
    kept_bytes: int = 64 * MIB
    """Of all files together whose bytes are kept in memory because the caller reads them."""
