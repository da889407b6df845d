"""The image in a registry that an artefact is attached to: the root that it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dibo.artefacts.recorded import RecordedImage, read_as_manifest
from dibo.errors import UsageError
from dibo.images import documents
from dibo.images.manifest import LARGEST_MANIFEST, checked
from dibo.images.reference import ImageName, names_a_host, parse_image_name
from dibo.images.registry import api
from dibo.images.sources.registry import resolve
from dibo.plan.labels import KEY_LABEL


def subject_name(reference: str) -> ImageName:
    """What `reference` names in a registry: by a tag or a digest. Raises UsageError."""
    if not names_a_host(reference.removeprefix("docker://")):
        raise UsageError(
            f"{reference!r} names nothing in a registry",
            hint="write HOST[:PORT]/PATH[:TAG], such as registry.example/images/web:1",
        )
    return parse_image_name(reference)


def find_subject(name: ImageName, record: RecordedImage | None, architecture: str, file: Path) -> bytes:
    """The manifest of the image at `name`, for the architecture that `record` has, else for `architecture`. Raises
    UsageError where the record beside `file` says that it was made of another image; RegistryError, Unreachable,
    ImageError."""
    if record is not None:
        with read_as_manifest(record.path):
            architecture = str(record.manifest["architecture"])
    digest = resolve(name, architecture=architecture)
    body = api.read_manifest(name.at(digest))
    _, document = checked(body, description=str(name), expected=digest)
    if record is not None:
        _check_origin(name, document, record, file)
    return body


def _check_origin(name: ImageName, document: dict[str, Any], record: RecordedImage, file: Path) -> None:
    manifest = documents.parse_manifest(document, description=str(name))
    with read_as_manifest(record.path):
        image = record.manifest.get("image")
        recorded = str(image["digest"] if image is not None else record.manifest["layers"][-1]["key"])
    origin = manifest.config.digest if image is not None else _key(name, manifest.config.digest)
    if origin != recorded:
        raise UsageError(
            f"{file} was not made of {name}: {record.path.name} has {recorded[:19]}, the image {origin[:19] or 'none'}",
            hint="name the image that it was made of, or push the image first: dibo build --push",
        )


def _key(name: ImageName, config: str) -> str:
    """dibo's key of an image; empty where it has none."""
    body = api.read_small(name, config, limit=LARGEST_MANIFEST)
    run = documents.parse(body, description=f"the config of {name}").get("config")
    labels = run.get("Labels") if isinstance(run, dict) else None
    return str(labels.get(KEY_LABEL) or "") if isinstance(labels, dict) else ""
