"""Images in the store that buildah and podman share (containers/storage), each layer read where it lies.

    ROOT/overlay-layers/layers.json             {"id", "parent", "diff-digest", "diff-size", …}, …
    ROOT/overlay-layers/<id>.tar-split.gz       what is missing in the next to make the layer's tar again
    ROOT/overlay/<id>/diff/                     the layer, unpacked
    ROOT/overlay-images/images.json             {"id", "layer": that on top, …}, …

    ROOT/overlay-images/<id>/                   its `manifest`; its config, whose digest is the id, is called by that

Names as the store has them are looked up there; buildah says which image a short one means. The shape of these files
has been the same for years (https://github.com/containers/storage, layers.go, images.go). A tar is made again file by
file (dibo.images.sources.tarsplit), so nothing is exported first, and its reader checks its digest. If the store has
another format, `buildah push` writes the layers, uncompressed, to the run's directory, and they are read from there.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dibo.errors import CommandFailed, ImageError, ToolMissing
from dibo.images import documents
from dibo.images.image import Image, Layer
from dibo.images.manifest import digest_of
from dibo.images.platforms import preference
from dibo.images.sources.blobs import not_for
from dibo.images.sources.buildah_environment import chooses_driver, engine_environment, own_environment
from dibo.images.sources.files import DirectoryFiles
from dibo.images.sources.layer_reader import LayerReader, StoredLayer
from dibo.images.sources.skopeo_dir import SkopeoDirectory
from dibo.images.sources.table import ImageRequest
from dibo.system import process


class Unknown(Exception):
    """The store is made in another way than dibo knows."""


@contextlib.contextmanager
def open_image(request: ImageRequest) -> Iterator[Image]:
    """The image that buildah knows by a name. Raises as `store_image` does."""
    with LayerReader(engine_environment()) as reader:
        yield store_image(
            request.name,
            reader,
            reference=request.reference,
            architecture=request.architecture,
            scratch=request.scratch,
        )


def store_image(
    name: str,
    reader: LayerReader,
    *,
    reference: str,
    architecture: str,
    scratch: Path,
    place: tuple[Path, str] | None = None,
) -> Image:
    """The image that buildah knows as `name`; `reference` is what the user wrote. `reader` reads its layers.
    `place` is what `find_store` said, where it was asked.

    Where dibo and the user's own commands have different stores, that of dibo counts first. Raises ImageError,
    ToolMissing, EngineError.
    """
    environment = engine_environment()
    try:
        known = find_image(*(place or find_store(environment)), name)
    except (Unknown, OSError):
        place = None
        environment, known = _found_by_buildah(name, environment, reference=reference)
    document = documents.parse(known.config, description=f"the config of {reference}")
    manifest = documents.parse(known.manifest, description=f"the manifest of {reference}")
    count = len(documents.parse_manifest(manifest, description=reference).layers)
    config = documents.parse_config(document, layers=count, description=f"the config of {reference}")
    if config.platform is not None and preference(config.platform, architecture) is None:
        raise not_for(architecture, [str(config.platform)], name=reference)
    try:
        root, driver = place or find_store(environment)
        stored = find_layers(root, driver, known.identity, diff_ids=config.diff_ids)
    except (Unknown, OSError):
        return _pushed(name, environment, reference=reference, architecture=architecture, scratch=scratch)
    return Image(
        name=reference,
        digest=digest_of(known.config),
        architecture=config.platform.debian if config.platform else "",
        layers=tuple(
            Layer(
                open=partial(reader.open, layer),
                digest=layer.diff_id,
                size=layer.size,
                diff_id=layer.diff_id,
            )
            for layer in stored
        ),
        config=document,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """What the store keeps of an image."""

    identity: str
    config: bytes
    manifest: bytes


def find_image(root: Path, driver: str, name: str) -> FoundImage:
    """The image that has this very name. Raises Unknown, also where there is none, and OSError."""
    images = _by_id(root / f"{driver}-images" / "images.json")
    identity = next((key for key, image in images.items() if name in (image.get("names") or ())), None)
    if identity is None:
        raise Unknown
    directory = root / f"{driver}-images" / identity
    config = _config_file(directory, identity).read_bytes()
    if digest_of(config) != f"sha256:{identity}":
        raise Unknown
    return FoundImage(identity=identity, config=config, manifest=(directory / "manifest").read_bytes())


def _found_by_buildah(
    name: str, environment: dict[str, str], *, reference: str
) -> tuple[dict[str, str], FoundImage]:
    """The image, and the environment in which buildah knows it. Raises ImageError, ToolMissing."""
    try:
        inspected = _inspect(name, environment, reference=reference)
    except ImageError:
        if not chooses_driver():
            raise
        environment = own_environment()
        inspected = _inspect(name, environment, reference=reference)
    return environment, FoundImage(
        identity=str(inspected.get("FromImageID")),
        config=str(inspected.get("Config") or "").encode(),
        manifest=str(inspected.get("Manifest") or "").encode(),
    )


def image_times(root: Path, driver: str) -> dict[str, str]:
    """When each image with a name was made, by name, as the store writes times. Raises Unknown, OSError."""
    path = root / f"{driver}-images" / "images.json"
    images = _by_id(path) if path.exists() else {}
    return {
        str(name): str(image.get("created", ""))
        for image in images.values()
        for name in image.get("names") or ()
    }


def find_layers(root: Path, driver: str, image: str, *, diff_ids: tuple[str, ...]) -> tuple[StoredLayer, ...]:
    """Where the layers of an image lie, from the lowest. Raises Unknown, OSError."""
    images = _by_id(root / f"{driver}-images" / "images.json")
    layers = _by_id(root / f"{driver}-layers" / "layers.json")
    at = images.get(image, {}).get("layer", "")
    chain: list[StoredLayer] = []
    for diff_id in reversed(diff_ids):
        layer = layers.get(at, {})
        size = layer.get("diff-size")
        place = StoredLayer(
            diff=_diff(root, driver, at),
            split=root / f"{driver}-layers" / f"{at}.tar-split.gz",
            diff_id=diff_id,
            size=size if isinstance(size, int) else -1,
        )
        if layer.get("diff-digest") != diff_id or place.size < 0:
            raise Unknown
        if not (place.diff.is_dir() and place.split.is_file()):
            raise Unknown
        chain.append(place)
        at = layer.get("parent", "")
    if at:
        raise Unknown
    return tuple(reversed(chain))


def directories() -> tuple[Path, ...]:
    """Where the store writes: layers, what runs now, and, as far as buildah is told so, temporary files. Raises
    ToolMissing, CommandFailed."""
    info = json.loads(process.run(["buildah", "info"], env=engine_environment(), capture=True).stdout)
    return Path(info["store"]["GraphRoot"]), Path(info["store"]["RunRoot"])


def where_to_find() -> str:
    """What the user's own `buildah` and `podman` need to see the images of dibo; nothing where they see them.

    Raises ToolMissing, CommandFailed.
    """
    if not chooses_driver() or find_store(own_environment()) == find_store():
        return ""
    return f"STORAGE_DRIVER={engine_environment()['STORAGE_DRIVER']}"


def as_typed(command: str) -> str:
    """`command` of buildah or podman, as a user types it to see the images of dibo."""
    try:
        setting = where_to_find()
    except (ToolMissing, CommandFailed):
        setting = ""
    return f"{setting} {command}".lstrip()


def stored_diff_ids() -> frozenset[str]:
    """The diff_ids of all layers in the store; none where it is made in another way than dibo knows. Raises
    ToolMissing, CommandFailed."""
    root, driver = find_store()
    try:
        layers = _by_id(root / f"{driver}-layers" / "layers.json")
    except (Unknown, OSError):
        return frozenset()
    return frozenset(
        str(layer["diff-digest"])
        for layer in layers.values()
        if layer.get("diff-digest") and not layer.get("flags", {}).get("incomplete")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """What the store notes of an image."""

    identity: str
    names: tuple[str, ...]
    created: str
    labels: Mapping[str, str]
    """Read for images without a name alone."""
    layers: tuple[tuple[str, int], ...]
    """(identity, bytes) from the lowest."""


def stored_images() -> tuple[ImageRecord, ...]:
    """All images in the store. Raises ImageError where it is made in another way than dibo knows, ToolMissing,
    CommandFailed."""
    return read_images(*find_store())


def read_images(root: Path, driver: str) -> tuple[ImageRecord, ...]:
    """The same of a store that was found before. Raises ImageError."""
    try:
        return read_records(root, driver)
    except (Unknown, OSError) as error:
        raise ImageError(
            f"the store of buildah at {root} is made in a way that dibo does not know"
        ) from error


def read_records(root: Path, driver: str) -> tuple[ImageRecord, ...]:
    """All images of a store. Raises Unknown, OSError."""
    if not (root / f"{driver}-images" / "images.json").exists():
        return ()
    images = _by_id(root / f"{driver}-images" / "images.json")
    layers = _by_id(root / f"{driver}-layers" / "layers.json")
    return tuple(
        ImageRecord(
            identity=identity,
            names=tuple(map(str, image.get("names") or ())),
            created=str(image.get("created", "")),
            labels={} if image.get("names") else _labels(root / f"{driver}-images" / identity, identity),
            layers=_chain(layers, str(image.get("layer", ""))),
        )
        for identity, image in images.items()
    )


def _chain(layers: Mapping[str, Mapping[str, Any]], top: str) -> tuple[tuple[str, int], ...]:
    """(identity, bytes) of each layer below `top`, and of it, from the lowest."""
    chain: list[tuple[str, int]] = []
    while top in layers and len(chain) <= len(layers):
        size = layers[top].get("diff-size")
        chain.append((top, max(size, 0) if isinstance(size, int) else 0))
        top = str(layers[top].get("parent", ""))
    return tuple(reversed(chain))


def _labels(directory: Path, identity: str) -> Mapping[str, str]:
    """The labels in the config of an image."""
    try:
        labels = json.loads(_config_file(directory, identity).read_bytes())["config"]["Labels"]
        return {str(label): str(value) for label, value in labels.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _config_file(directory: Path, identity: str) -> Path:
    return directory / f"={base64.b64encode(f'sha256:{identity}'.encode()).decode()}"


def _diff(root: Path, driver: str, layer: str) -> Path:
    match driver:
        case "overlay":
            return root / "overlay" / layer / "diff"
        case "vfs":
            return root / "vfs" / "dir" / layer
    raise Unknown


def _by_id(path: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        listed = json.loads(path.read_bytes())
        return {str(item["id"]): item for item in listed}
    except (ValueError, KeyError, TypeError) as error:
        raise Unknown from error


def _inspect(name: str, environment: Mapping[str, str], *, reference: str) -> Mapping[str, Any]:
    argv = ["buildah", "inspect", "--type", "image", "--", name]
    try:
        inspected = json.loads(process.run(argv, env=environment, capture=True).stdout)
    except CommandFailed as error:
        raise ImageError(
            f"buildah has no image {name}: {' '.join(error.tail[-1:])}",
            hint=f"`{as_typed('buildah images')}` lists them; one in a registry is docker://{name}",
        ) from error
    except ValueError:
        inspected = None
    if not isinstance(inspected, dict):
        raise ImageError(f"buildah says nothing that makes sense about {reference}")
    return inspected


def find_store(environment: Mapping[str, str] | None = None) -> tuple[Path, str]:
    """The directory of buildah's store, and its driver, in that environment, else dibo's. Raises ToolMissing,
    CommandFailed."""
    argv = ["buildah", "info"]
    info = json.loads(process.run(argv, env=environment or engine_environment(), capture=True).stdout)
    return Path(info["store"]["GraphRoot"]), str(info["store"]["GraphDriverName"])


def _pushed(
    name: str, environment: Mapping[str, str], *, reference: str, architecture: str, scratch: Path
) -> Image:
    """The image as buildah writes it out."""
    place = scratch / "image"
    argv = ["buildah", "push", "--quiet", "--disable-compression", "--", name, f"dir:{place}"]
    try:
        process.run(argv, env={**environment, "TMPDIR": str(scratch)}, capture=True)
    except CommandFailed as error:
        raise ImageError(f"buildah cannot give {reference}: {' '.join(error.tail[-2:])}") from error
    return SkopeoDirectory(DirectoryFiles(place), name=reference).image(architecture=architecture)
