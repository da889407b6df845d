"""An image of a root file system, wherever it is: its config, and its layers as they are stored.

A source (dibo.images.sources) fills this in. The reader of layers (dibo.images.layers) checks every byte against the
digests here, so that sources need not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol


class Reader(Protocol):
    """A stream of bytes, read once."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: a tar, perhaps compressed (OCI image specification, layer.md)."""

    open: Callable[[], AbstractContextManager[Reader]]
    """The bytes as they are stored, from the start. It and the Reader may raise ImageError, RegistryError,
    Unreachable."""
    digest: str | None
    """Of the bytes as stored, `sha256:…`; None if not known."""
    size: int | None
    """Bytes as stored; None if not known."""
    diff_id: str | None
    """Digest of the tar itself; None if not known."""
    media_type: str = ""
    """What the manifest says; the content decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`layers` from the lowest to the highest."""

    name: str
    """As the user named it, for messages."""
    digest: str
    """Of its config, which has the digests of the tars of all layers: the same wherever the image is, and however its
    layers are compressed."""
    architecture: str
    """Debian's word, or OCI's where Debian has none; empty where the image does not say."""
    layers: tuple[Layer, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    """The image's configuration (OCI image specification, config.md)."""
    manifest_digest: str = ""
    """Of its manifest, which signatures are of; empty where it comes without one."""
