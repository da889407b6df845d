"""Where what tasks need and make is while it is on its way: in a registry, or, on one machine, in files."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from dibo.api.baking.planning import PlannedBake, PlannedImage, output_paths
from dibo.api.baking.spec import TaskKind, TaskSpec
from dibo.api.fleet import parcel
from dibo.api.fleet.bundle import bundle_images, require_portable, save_images
from dibo.api.fleet.orders import FleetOrder, ParcelName
from dibo.bake.graph import BakeTask
from dibo.errors import OutputError
from dibo.images.reference import ImageName
from dibo.system.report import Report
from dibo.system.workspace import Run


class Exchange(Protocol):
    def offered(self) -> contextlib.AbstractContextManager[None]:
        """While it lasts, workers find what orders name."""

    def order(self, spec: TaskSpec) -> FleetOrder:
        """The order for a worker that does a task."""

    def fetched(self, task: BakeTask, name: ParcelName) -> tuple[Path, ...]:
        """Have artefacts here, under their names."""


class FileExchange:
    """For workers of the same user on this machine, who share its store of layers."""

    def __init__(self, images: Iterable[PlannedImage], run: Run) -> None:
        self._images, self._directory = tuple(images), run.subdirectory("fleet")

    @contextlib.contextmanager
    def offered(self) -> Iterator[None]:
        save_images(self._images, self._directory)
        yield

    def order(self, spec: TaskSpec) -> FleetOrder:
        return FleetOrder(
            id=spec.id,
            kind=spec.kind,
            image=spec.image.name,
            keys=spec.keys,
            test=spec.test,
            file=self._directory,
        )

    def fetched(self, task: BakeTask, name: ParcelName) -> tuple[Path, ...]:
        raise NotImplementedError


class RegistryExchange:
    """For workers anywhere that reach the same registry. What a bake leaves there beside layers is removed at its end,
    where the registry allows that."""

    def __init__(self, planned: PlannedBake, repository: ImageName, run: Run, report: Report) -> None:
        """Raises LocalLayers and UsageError for what must not or cannot leave this machine."""
        self._images: Mapping[str, PlannedImage] = planned.images
        require_portable(self._images.values())
        self._repository, self._run, self._report = repository, run, report
        self._tag = f"bake-{secrets.token_hex(8)}"
        self._bundle: ParcelName | None = None
        self._parcels: dict[str, ParcelName] = {}

    def _named(self, tag: str, digest: str) -> ParcelName:
        return ParcelName(repository=str(self._repository), tag=tag, digest=digest)

    @contextlib.contextmanager
    def offered(self) -> Iterator[None]:
        target = self._run.subdirectory("fleet")
        with (
            self._report.task(f"send what workers need to {self._repository}"),
            self._run.scratch() as scratch,
        ):
            contents = bundle_images(self._images.values(), target)
            digest = parcel.send(self._repository.tagged(self._tag), contents, scratch=scratch)
        self._bundle = self._named(self._tag, digest)
        try:
            yield
        finally:
            for name in (self._bundle, *self._parcels.values()):
                parcel.forget(self._repository.tagged(name.tag))

    def order(self, spec: TaskSpec) -> FleetOrder:
        return FleetOrder(
            id=spec.id,
            kind=spec.kind,
            image=spec.image.name,
            keys=spec.keys,
            test=spec.test,
            bundle=self._bundle,
            artefacts=self._parcels.get(spec.image.name) if spec.kind is TaskKind.TEST else None,
            reply_tag=f"{self._tag}-{spec.image.name}"[:128],
        )

    def fetched(self, task: BakeTask, name: ParcelName) -> tuple[Path, ...]:
        image = task.images[0]
        self._parcels[image] = name
        paths = output_paths(self._images[image].spec)
        directory = paths[0].parent
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with self._run.beside(directory / image) as file, _directory_at(file) as part:
                parcel.receive(self._repository.tagged(name.tag), name.digest, part)
                for path in sorted(part.iterdir()):
                    path.replace(directory / path.name)
        except OSError as error:
            raise OutputError(f"cannot write the artefacts of {image} to {directory}: {error}") from error
        return paths


@contextlib.contextmanager
def _directory_at(path: Path) -> Iterator[Path]:
    """A directory in place of a file of the run, for a while."""
    path.unlink()
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)
