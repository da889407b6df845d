"""buildah's images, as a cache gives and takes them.

Layers go out as they lie in the store (dibo.images.sources.containers_storage), nothing is exported first. They come in
through a directory that buildah pulls from (containers-transports(5), `dir:`):

    manifest.json     config and layers
    HEX               a blob; of a layer that the store has already, an empty file named by its diff_id, which buildah
                      finds in the store and does not open
    version

buildah itself does not compare a layer with its diff_id; that is done here, while it is downloaded.
"""

from __future__ import annotations

import calendar
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Final

from dibo.build.engine import StoredImage
from dibo.build.engines.base_layer import Written
from dibo.build.engines.docker.image import new_config
from dibo.build.engines.image_names import names_of
from dibo.errors import CommandFailed, EngineError
from dibo.images.image import Image, Layer
from dibo.images.manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, digest_of
from dibo.images.platforms import PLATFORMS
from dibo.images.sources.buildah_environment import engine_environment
from dibo.images.sources.containers_storage import ImageRecord, store_image, stored_diff_ids
from dibo.images.sources.layer_reader import LayerReader
from dibo.images.verify import save
from dibo.plan.keys import key_of
from dibo.plan.labels import KEY_LABEL
from dibo.system import process

_TOGETHER: Final = 3  # layers downloaded at the same time


class BuildahStore:
    """`reference` says how buildah calls the image of a key; `directory` is of the run."""

    def __init__(
        self, reference: Callable[[str], str], reader: LayerReader, *, architecture: str, directory: Path
    ) -> None:
        self._reference, self._reader = reference, reader
        self._architecture, self._directory = architecture, directory

    def image(self, key: str) -> Image:
        name = self._reference(key)
        scratch = Path(tempfile.mkdtemp(prefix="image-", dir=self._directory))
        return store_image(
            name, self._reader, reference=name, architecture=self._architecture, scratch=scratch
        )

    def take(self, image: Image, *, key: str) -> None:
        known = stored_diff_ids()
        with self._place() as place:
            with ThreadPoolExecutor(_TOGETHER) as pool:
                layers = list(pool.map(lambda layer: _bring(layer, place, known), image.layers))
            config = json.dumps(image.config).encode()
            _blob(place, digest_of(config)).write_bytes(config)
            manifest = {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
                "layers": layers,
            }
            (place / "manifest.json").write_text(json.dumps(manifest))
            (place / "version").write_text("Directory Transport Version: 1.1\n")
            self._pull(place, self._reference(key))

    def _pull(self, place: Path, name: str) -> None:
        environment = {**engine_environment(), "TMPDIR": str(self._directory)}
        try:
            pulled = process.run(
                ["buildah", "pull", "--quiet", f"dir:{place}"], env=environment, capture=True
            )
            process.run(["buildah", "tag", pulled.stdout.split()[-1], name], env=environment, capture=True)
        except (CommandFailed, IndexError) as error:
            tail = error.tail[-2:] if isinstance(error, CommandFailed) else ()
            raise EngineError(f"buildah did not take {name}: {' '.join(tail)}") from error

    @contextlib.contextmanager
    def _place(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="image-", dir=self._directory) as place:
            yield Path(place)


def stored_image(record: ImageRecord) -> StoredImage | None:
    """An image of the store, if dibo made it."""
    names, tagged = names_of(record.names)
    if not names and (tagged or KEY_LABEL not in record.labels):
        return None
    return StoredImage(
        identity=record.identity,
        names=names,
        tagged=tagged,
        created=seconds(record.created),
        layers=record.layers,
    )


def seconds(created: str) -> float:
    """Seconds since the epoch of `2026-11-23T21:39:43.354742728Z`, 0 for anything else."""
    with contextlib.suppress(ValueError):
        return calendar.timegm(time.strptime(created[:19], "%Y-%m-%dT%H:%M:%S"))
    return 0.0


def image_of_base(
    written: Written, file: IO[bytes], *, architecture: str, labels: Mapping[str, str]
) -> Image:
    """The image that is nothing but a base, whose tar is in `file`, read from its start, once."""
    config = new_config(
        architecture=PLATFORMS.get(architecture, (architecture, ""))[0],
        diff_ids=[written.diff_id],
        labels=labels,
    )
    layer = Layer(
        open=lambda: contextlib.nullcontext(file),
        digest=written.diff_id,
        size=written.size,
        diff_id=written.diff_id,
        media_type=OCI_LAYER,
    )
    return Image(
        name="base",
        digest=f"sha256:{key_of(config)}",
        architecture=architecture,
        layers=(layer,),
        config=config,
    )


def _bring(layer: Layer, place: Path, known: frozenset[str]) -> dict[str, Any]:
    """Have a layer in `place`, checked; its descriptor there."""
    assert layer.diff_id is not None
    if layer.diff_id in known:
        _blob(place, layer.diff_id).touch()
        return {"mediaType": OCI_LAYER, "digest": layer.diff_id, "size": 0}
    assert layer.digest is not None
    path = _blob(place, layer.digest)
    save(layer, path)
    return {"mediaType": layer.media_type, "digest": layer.digest, "size": path.stat().st_size}


def _blob(place: Path, digest: str) -> Path:
    return place / digest.partition(":")[2]
