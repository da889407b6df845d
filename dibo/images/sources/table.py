"""All sources of images. A new source is a module in this folder with a function that opens an image, and a line here:
`dibo convert --help`, the reference and hints list what this table has.
"""

from __future__ import annotations

import enum
import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.images.image import Image


class ImagePlace(enum.Enum):
    """What follows the prefix of a source."""

    REGISTRY = "a name in a registry"
    DIRECTORY = "the path of a directory"
    FILE = "the path of a file"
    STORE = "a name in the store of a program"


Verify = Callable[[str], None]
"""Gets the digest of a manifest before its config is read. Raises SignatureError for an image that may not be used,
RegistryError, Unreachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """Which image to open."""

    reference: str
    """As the user wrote it, for messages."""
    name: str
    """The reference without the prefix."""
    architecture: str
    """Debian's word, perhaps with a variant: amd64, amd64/v2."""
    scratch: Path
    """A directory for nameless files, which hold what can be read only once."""
    verify: Verify | None = None
    """For images in registries, where signatures are."""


Open = Callable[[ImageRequest], AbstractContextManager[Image]]
"""Opens an image. Raises UsageError for a name that is invalid, ImageError, VerificationFailed, RegistryError,
Unreachable, ToolMissing, EngineError, OutputError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """One source: how its images are written, where they are, and how one is opened."""

    form: str
    means: str
    place: ImagePlace
    open: Open


def _imported(module: str, function: str = "open_image") -> Open:
    """A function of a module in this folder, which is imported at the first call: help needs none of them."""

    def opener(request: ImageRequest) -> AbstractContextManager[Image]:
        open_: Open = getattr(importlib.import_module(f"dibo.images.sources.{module}"), function)
        return open_(request)

    return opener


SOURCES: Final = {
    "": SourceKind(
        form="HOST[:PORT]/PATH[:TAG][@DIGEST]",
        means="in a registry",
        place=ImagePlace.REGISTRY,
        open=_imported("registry"),
    ),
    "docker://": SourceKind(
        form="docker://PATH[:TAG][@DIGEST]",
        means="the same, or, without a host, at Docker Hub",
        place=ImagePlace.REGISTRY,
        open=_imported("registry"),
    ),
    "oci:": SourceKind(
        form="oci:DIR[:TAG or @DIGEST]",
        means="in an OCI layout",
        place=ImagePlace.DIRECTORY,
        open=_imported("layout", "open_directory"),
    ),
    "oci-archive:": SourceKind(
        form="oci-archive:FILE[:TAG or @DIGEST]",
        means="in a tar of an OCI layout",
        place=ImagePlace.FILE,
        open=_imported("layout", "open_tar"),
    ),
    "docker-archive:": SourceKind(
        form="docker-archive:FILE[:NAME or :@N]",
        means="in a file that `docker save` or `podman save` wrote",
        place=ImagePlace.FILE,
        open=_imported("docker_archive"),
    ),
    "dir:": SourceKind(
        form="dir:DIR",
        means="in a directory that `skopeo copy` wrote to `dir:`",
        place=ImagePlace.DIRECTORY,
        open=_imported("skopeo_dir"),
    ),
    "containers-storage:": SourceKind(
        form="containers-storage:NAME",
        means="in the store of buildah and podman",
        place=ImagePlace.STORE,
        open=_imported("containers_storage"),
    ),
    "docker-daemon:": SourceKind(
        form="docker-daemon:NAME",
        means="in the store of the docker daemon",
        place=ImagePlace.STORE,
        open=_imported("docker_daemon"),
    ),
}
"""By the prefix of a reference; the one without a prefix is for references that begin with the host of a registry."""

POSSIBLE: Final = "\n".join(
    ["an image is one of", *(f"  {kind.form:33}  {kind.means.replace('`', '')}" for kind in SOURCES.values())]
)
"""A hint that lists all forms."""
