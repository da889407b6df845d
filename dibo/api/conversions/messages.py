"""What the command and its workers say to each other, over a pipe (multiprocessing.connection)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dibo.api.conversion import ConvertRequest
from dibo.errors import DiboError
from dibo.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConversion:
    """One image, and what it becomes: `settings` have the output."""

    settings: Settings
    request: ConvertRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class FindLayers:
    """To a worker: which layers has the image? It answers with ImageLayers or Failed."""

    job: ImageConversion


@dataclass(frozen=True, slots=True, kw_only=True)
class Convert:
    """To a worker: convert the image. It answers with Unpacked, Said, and last Converted or Failed."""

    job: ImageConversion
    to_unpack: Mapping[str, Path]
    """Layers to read into files for all, by diff_id."""
    unpacked: Mapping[str, Path]
    """Those that are read."""
    room: int
    """Bytes that the files may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayers:
    """Layers by diff_id, those of its kit included."""

    diff_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A layer was read into its file of `size` bytes, or could not be: None."""

    diff_id: str
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    text: str
    is_warning: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    artefacts: tuple[Path, ...]
    image: str
    """Its name, with the digest where that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    error: DiboError


Order = FindLayers | Convert
Answer = ImageLayers | Unpacked | Said | Converted | Failed
