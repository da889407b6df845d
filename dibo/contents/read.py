"""Reads what is in an image that a user names, whatever its form.

    with open_contents("web.qcow2", request) as contents:
        contents.inventory            all but the bytes of files
        contents.digests(paths)       digests of some of them

Nothing is unpacked, mounted or run, but qemu-img for disks other than raw and qcow2, and buildah where an image is in
its store.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from dibo.contents.directories import read_directory
from dibo.contents.disks import read_disk
from dibo.contents.images import ImageReading, Ingredients, read_image, unknown
from dibo.contents.inventory import Inventory
from dibo.contents.make_inventory import inventory_of
from dibo.contents.names import ResolvedName, resolve
from dibo.contents.ramdisks import read_ramdisk
from dibo.contents.shared_layers import shared_layers_of
from dibo.contents.tree_source import TreeSource, node_at
from dibo.errors import DiboError
from dibo.formats import magic
from dibo.formats.source import Source
from dibo.images.image import Image, Layer, Reader
from dibo.images.sources.archive import decompressing_opener
from dibo.inspect.open_image import opened
from dibo.system.report import Report
from dibo.system.workspace import Run

OpenImage = Callable[[str, Path], AbstractContextManager[Image]]
"""Opens the container image of a reference, with a directory for temporary files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """What reading takes from its caller. With `hashes`, digests of a container image are told while it is read."""

    run: Run
    report: Report
    open_image: OpenImage
    ingredients: Ingredients = unknown
    hashes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedContents:
    """An inventory, and the image open, so that bytes of files can be looked at."""

    inventory: Inventory
    source: TreeSource

    def digests(self, paths: Iterable[bytes]) -> Mapping[bytes, str]:
        """The sha256 of the files at `paths`, hexadecimal; what cannot be read, or is no file, is left out. Raises
        DiboError."""
        nodes = {path: node_at(self.source.root, path) for path in paths}
        files = {path: node for path, node in nodes.items() if node is not None and stat.S_ISREG(node.mode)}
        return self.source.digests(files)

    def extract(self, path: bytes, target: Path, *, most: int) -> bool:
        """Write a file's bytes to `target`; whether it is one, of at most `most` bytes, that can be read again."""
        node, content = node_at(self.source.root, path), self.source.content
        if node is None or content is None or not stat.S_ISREG(node.mode) or node.size > most:
            return False
        try:
            with target.open("wb") as file:
                file.writelines(content(node))
        except (DiboError, OSError):
            return False
        return True


def disk_contents(disk: Source, *, name: str) -> OpenedContents:
    """What is on a disk that is open. Raises DiskImageError."""
    source = read_disk(disk, name=name, disk_format="raw", stored=0)
    return OpenedContents(inventory=inventory_of(source), source=source)


def directory_contents(path: Path) -> OpenedContents:
    """What is in a directory. Raises ImageError."""
    source = read_directory(path)
    return OpenedContents(inventory=inventory_of(source), source=source)


def read_inventory(name: str, request: ReadRequest) -> Inventory:
    """What is in the image `name`. Raises as open_contents does."""
    with open_contents(name, request) as contents:
        return contents.inventory


@contextlib.contextmanager
def open_contents(name: str, request: ReadRequest) -> Iterator[OpenedContents]:
    """Raises ImageError, LayerError, VerificationFailed, RegistryError, Unreachable, DiskImageError, ManifestError,
    ToolMissing, EngineError, OutputError."""
    scratch = request.run.subdirectory("contents")
    named = resolve(name, scratch=scratch)
    with ExitStack() as stack:
        with request.report.task(f"read {name}"):
            source = _source(named, request, scratch, stack)
            inventory = _inventory(source, named)
        yield OpenedContents(inventory=inventory, source=source)


@contextlib.contextmanager
def open_pair(
    names: tuple[str, str], request: ReadRequest
) -> Iterator[tuple[OpenedContents, OpenedContents]]:
    """Two images, to be compared: layers that both have at the bottom are read once. Raises as open_contents does."""
    scratch = request.run.subdirectory("pair")
    first, second = (resolve(name, scratch=scratch) for name in names)
    if first.path is not None or second.path is not None:
        with open_contents(names[0], request) as before, open_contents(names[1], request) as after:
            yield before, after
        return
    with ExitStack() as stack:
        images = [
            stack.enter_context(request.open_image(named.reference, scratch)) for named in (first, second)
        ]
        with request.report.task("read the layers that both have") as task:
            known = stack.enter_context(shared_layers_of(images[0], images[1], scratch=scratch))
            task.note(f"{len(known)} of {len(images[0].layers)} and {len(images[1].layers)}")
        opened_images = []
        for image, named in zip(images, (first, second), strict=True):
            with request.report.task(f"read {named.name}"):
                source = read_image(image, _reading(request, known))
                inventory = _inventory(source, named)
            opened_images.append(OpenedContents(inventory=inventory, source=source))
        yield opened_images[0], opened_images[1]


def _inventory(source: TreeSource, named: ResolvedName) -> Inventory:
    inventory = inventory_of(source, manifest=named.manifest)
    if not named.misfit:
        return inventory
    note = f"the manifest beside {named.name} does not fit it: {named.misfit}"
    return replace(inventory, notes=(note, *inventory.notes))


def _reading(request: ReadRequest, known: tuple[Layer, ...] = ()) -> ImageReading:
    return ImageReading(
        hashes=request.hashes, known=known, ingredients=request.ingredients, progress=request.report.progress
    )


def _source(named: ResolvedName, request: ReadRequest, scratch: Path, stack: ExitStack) -> TreeSource:
    if named.path is None:
        image = stack.enter_context(request.open_image(named.reference, scratch))
        return read_image(image, _reading(request))
    match named.form:
        case "directory":
            return read_directory(named.path)
        case "ramdisk":
            return read_ramdisk(named.path, scratch=scratch, stack=stack)
        case "tar":
            image = _tar_image(named.path)
            return read_image(image, _reading(request), form="tar")
    disk, _, disk_format = stack.enter_context(opened(named.path, run=request.run, report=request.report))
    stored = named.path.stat().st_blocks * 512
    return read_disk(disk, name=named.name, disk_format=disk_format, stored=stored)


def _tar_image(path: Path) -> Image:
    """A tar of a root as an image of one layer, without digests."""

    @contextlib.contextmanager
    def open_tar() -> Iterator[Reader]:
        with path.open("rb", buffering=0) as file:
            head = file.read(8)
            file.seek(0)
            kind = magic.compression(head)
            opener = decompressing_opener(head) if kind not in ("", "gzip", "zstd") else None
            yield opener(file) if opener is not None else file

    layer = Layer(open=open_tar, digest=None, size=None, diff_id=None)
    return Image(name=str(path), digest="", architecture="", layers=(layer,))
