"""The images of a docker daemon: names and configs given, layers taken in and handed out.

A daemon takes layers only as `docker load` does, and gives them only as `docker save` does: all layers of an image in
one stream. So what is taken in is sent layer by layer, and what is handed out is kept in a nameless file until
its last reader is gone. The daemon's own idea of compression does not count: it is sent plain tars, which every
version of docker reads (20.10 knows no zstd).
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from dibo.build.engine import StoredImage
from dibo.build.engines.docker.image import Blob, Document, archive, config_on, with_config
from dibo.build.engines.image_names import LAYERS, names_of
from dibo.errors import ImageError, OutputError
from dibo.images.image import Image, Layer, Reader
from dibo.images.layers.limits import Limits
from dibo.images.layers.stream import Stream
from dibo.images.manifest import digest_of
from dibo.images.platforms import Platform
from dibo.images.sources.docker_archive import DockerArchive
from dibo.images.sources.files import ArchiveFiles
from dibo.images.sources.tarindex import read_index
from dibo.plan.labels import KEY_LABEL
from dibo.system import disk_space
from dibo.system.docker_api import Daemon, NotThere, connected


class DockerStore:
    """What a daemon keeps. `directory` is for files without names, as large as an image."""

    def __init__(self, daemon: Daemon, directory: Path) -> None:
        self._daemon = daemon
        self._directory = directory
        self._lock = threading.Lock()
        self._saved: _Saved | None = None

    def name(self, image: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> None:
        """Give an image that the daemon has (what it says of it) a config of dibo's, and a name."""
        config = config_on(image, diff_ids=image["RootFS"]["Layers"], labels=labels)
        if not self._daemon.has_containerd_store():
            self.load(archive(config, name=name), name)
            return
        with self._keeping(), tempfile.TemporaryFile(dir=self._directory) as file:
            for data in self._daemon.save(str(image["Id"])):
                file.write(data)
            file.seek(0)
            self.load(with_config(file, config, name=name), name)

    def load(self, stream: Iterable[bytes], name: str) -> None:
        """Load an image that may take the name of another, which then has none and goes."""
        before = self._daemon.identity(name)
        try:
            self._daemon.load(stream)
        finally:
            if before is not None and before != self._daemon.identity(name):
                self._daemon.discard(before)

    def take(self, image: Image, *, config: Document, name: str) -> None:
        """Send an image, of its layers those that the daemon does not have yet, each checked before it counts.

        Raises VerificationFailed, LayerError, and what opening a layer raises.
        """
        diff_ids = config["rootfs"]["diff_ids"]
        known = self._known(diff_ids)
        blobs = [
            Blob(diff_id=diff_id, open=partial(self._plain, layer))
            for diff_id, layer in zip(diff_ids[known:], image.layers[known:], strict=True)
        ]
        with self._keeping():
            self.load(archive(config, name=name, layers=blobs), name)

    def _known(self, diff_ids: Sequence[str]) -> int:
        """How many layers, from the lowest on, images of dibo have below them already."""
        if self._daemon.has_containerd_store():
            return 0
        most = 0
        for tag in self._daemon.images(LAYERS):
            with contextlib.suppress(NotThere):
                have = self._daemon.inspect(f"{LAYERS}:{tag}")["RootFS"]["Layers"]
                same = next((n for n, (a, b) in enumerate(zip(have, diff_ids, strict=False)) if a != b), None)
                most = max(most, min(len(have), len(diff_ids)) if same is None else same)
        return most

    @contextlib.contextmanager
    def _plain(self, layer: Layer) -> Iterator[tuple[int, IO[bytes]]]:
        """The tar of a layer, checked, and its size in bytes."""
        with tempfile.TemporaryFile(dir=self._directory) as file:
            with Stream(layer, limits=Limits()) as stream:
                while (piece := stream.next()) is not None:
                    file.write(piece)
            size = file.tell()
            file.seek(0)
            yield size, file

    def images(self) -> list[StoredImage]:
        """All images of dibo's."""
        result = []
        for image in self._daemon.all_images():
            names, tagged = names_of(image.names)
            if names or (not tagged and KEY_LABEL in image.labels):
                with contextlib.suppress(NotThere):
                    layers = self._daemon.inspect(image.identity)["RootFS"]["Layers"]
                    result.append(
                        StoredImage(
                            identity=image.identity,
                            names=names,
                            tagged=tagged,
                            created=image.created,
                            layers=tuple((chain, image.size) for chain in chains(layers)),
                        )
                    )
        return with_sizes(result)

    def image(self, name: str) -> Image:
        """An image that the daemon has. Its layers are fetched when the first of them is opened. Raises ImageError."""
        try:
            known = self._daemon.inspect(name)
        except NotThere as error:
            raise ImageError(f"the docker daemon at {self._daemon.host} has no image {name}") from error
        diff_ids = [str(known_diff_id) for known_diff_id in known["RootFS"]["Layers"]]
        config = {**config_on(known, diff_ids=diff_ids, labels={}), "created": known.get("Created", "")}
        platform = Platform(
            os=config["os"], architecture=config["architecture"], variant=config.get("variant", "")
        )
        return Image(
            name=name,
            digest=str(known["Id"]),
            architecture=platform.debian,
            layers=tuple(
                Layer(
                    open=partial(self._open, str(known["Id"]), platform.debian, diff_id),
                    digest=None,
                    size=None,
                    diff_id=diff_id,
                )
                for diff_id in diff_ids
            ),
            config=config,
        )

    @contextlib.contextmanager
    def _open(self, image: str, architecture: str, diff_id: str) -> Iterator[Reader]:
        with self._lock:
            if self._saved is None or diff_id not in self._saved.layers:
                self._saved = None  # room for the next one, unless somebody still reads from it
                self._saved = self._save(image, architecture)
            saved = self._saved
        with saved.layers[diff_id].open() as reader:
            yield reader

    def _save(self, image: str, architecture: str) -> _Saved:
        """On a connection of its own: the caller may be a thread beside a build."""
        with (
            self._keeping(),
            tempfile.TemporaryDirectory(prefix="dibo-") as scratch,
            connected(scratch=Path(scratch), host=self._daemon.host) as daemon,
        ):
            file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 (closed with the last reader)
            try:
                for data in daemon.save(image):
                    file.write(data)
                file.flush()
                return _Saved(file, image, architecture)
            except BaseException:
                file.close()
                raise

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[None]:
        """Something as large as an image is kept in a file."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot keep a copy of an image in {self._directory}: {disk_space.reason(error, self._directory)}",
                hint="set --cache-dir to a directory with more space",
            ) from error


def chains(diff_ids: Sequence[str]) -> Iterator[str]:
    """What tells a layer on those below it from the same layer on others (image-spec, config.md, ChainID)."""
    chain = ""
    for diff_id in diff_ids:
        chain = digest_of(f"{chain} {diff_id}".encode()) if chain else diff_id
        yield chain


def with_sizes(images: Sequence[StoredImage]) -> list[StoredImage]:
    """The images, with sizes of layers. A daemon tells the size of whole images alone, which is given for each layer:
    the difference to the images below is what lies on them, and counts for the lowest layer of it."""
    sizes: dict[str, int] = {}
    for image in sorted(images, key=lambda item: len(item.layers)):
        unknown = [chain for chain, _ in image.layers if chain not in sizes]
        if unknown:
            known = sum(sizes[chain] for chain, _ in image.layers if chain in sizes)
            sizes |= dict.fromkeys(unknown, 0)
            sizes[unknown[0]] = max(image.layers[-1][1] - known, 0)
    return [
        replace(image, layers=tuple((chain, sizes[chain]) for chain, _ in image.layers)) for image in images
    ]


class _Saved:
    """An image as `docker save` gave it. The file is closed when its last reader is gone."""

    def __init__(self, file: IO[bytes], image: str, architecture: str) -> None:
        description = f"the image {image[:19]} of docker"
        files = ArchiveFiles(
            file.fileno(), read_index(file.fileno(), description=description), path=description
        )
        archive = DockerArchive(files, name=description, reference="").image(architecture=architecture)
        self.layers = {str(layer.diff_id): layer for layer in archive.layers}
        weakref.finalize(self, file.close)
