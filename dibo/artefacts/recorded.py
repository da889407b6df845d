"""Artefacts and the manifest beside them, as `dibo verify` and `dibo push` find them: read and checked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dibo.artefacts import manifest as manifest_format
from dibo.artefacts.checksums import sha256_of
from dibo.errors import ManifestError

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedImage:
    """A manifest, and the artefacts beside it that are to be compared."""

    path: Path
    manifest: Manifest
    artefacts: tuple[Mapping[str, Any], ...]

    def file(self, artefact: Mapping[str, Any]) -> Path:
        return self.path.with_name(str(artefact["name"]))


def find(path: Path) -> RecordedImage:
    """The manifest at `path`, or the one beside the artefact there. Raises ManifestError."""
    if not path.is_file() and not path.is_dir():
        raise ManifestError(
            f"{path} is neither a file nor a directory", hint="name an image, or its manifest"
        )
    if path.name.endswith(manifest_format.SUFFIX):
        manifest = _read(path)
        return RecordedImage(path=path, manifest=manifest, artefacts=tuple(manifest["artefacts"]))
    for candidate in sorted(path.absolute().parent.glob(f"*{manifest_format.SUFFIX}")):
        manifest = _read(candidate)
        named = tuple(artefact for artefact in manifest["artefacts"] if artefact["name"] == path.name)
        if named:
            return RecordedImage(path=candidate, manifest=manifest, artefacts=named)
    raise ManifestError(
        f"no manifest beside {path} names it",
        hint=f"dibo writes NAME{manifest_format.SUFFIX} beside what it makes: keep them together",
    )


@contextmanager
def read_as_manifest(path: Path) -> Iterator[None]:
    """What is missing in a manifest, or is of another kind, is ManifestError."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(
            f"{path} is no manifest: {error!r}", hint="name the one that dibo wrote beside the image"
        ) from error


def _read(path: Path) -> Manifest:
    try:
        manifest = json.loads(path.read_text())
        if manifest["format"] != manifest_format.FORMAT:
            raise ManifestError(
                f"{path} has the format {manifest['format']}; this dibo knows {manifest_format.FORMAT}"
            )
        if not all(_is_name(artefact["name"]) for artefact in manifest["artefacts"]):
            raise ManifestError(f"{path} names files elsewhere")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestError(f"{path} is no manifest: {error!r}") from error
    return dict(manifest)


def _is_name(name: str) -> bool:
    """Whether it is that of a file in the directory of the manifest."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def check_files(recorded: RecordedImage) -> list[str]:
    """What is not as the manifest says. Raises ManifestError where a file is missing."""
    tampered = []
    for artefact in recorded.artefacts:
        file = recorded.file(artefact)
        if not file.exists():
            raise ManifestError(f"{file}, which {recorded.path.name} names, is not there")
        if artefact["sha256"] is not None and sha256_of(file) != artefact["sha256"]:
            kind = "directory" if file.is_dir() else "file"
            tampered.append(
                f"{file} is not the {kind} that {recorded.path.name} describes: its sha256 is another"
            )
    return tampered
