"""All that a bake decided of its images, and the files that this takes, as a parcel for workers on other machines.

Values are pickled as they are, but for paths of this machine: what is below a directory that goes along is named by its
place in the parcel, what comes with dibo by its place there, and outputs by their names, and each is found again on
the worker. Variables of the environment go along only where flavours declare them or dibo knows them; a password
never does: secrets are read on the worker, from the files and variables of the same names.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from dibo.api.baking.planning import PlannedImage, output_paths
from dibo.api.baking.spec import Decided, ImageSpec
from dibo.api.machines.request import BootRequest
from dibo.errors import LocalLayers, UsageError
from dibo.machines.steps import StepKind
from dibo.settings.settings import Settings
from dibo.settings.variables import VARIABLES
from dibo.system import resources

_SIGN_PASSWORDS: Final = ("DIBO_SIGN_PASSWORD", "COSIGN_PASSWORD")
_SECRETIVE: Final = ("PASSWORD", "SECRET", "TOKEN")
"""Words in the names of variables that never go along."""
_OF_WORKERS: Final = {"engine": "DIBO_ENGINE", "isolation": "DIBO_ISOLATION", "mirror": "DIBO_MIRROR"}
"""Settings that are a machine's: a variable that the worker has overrides them."""
_OUTPUT: Final = "output"
_CACHE: Final = "cache"
_FILES: Final = "files"
_SHARED: Final = ("flavours", "converters", "containerfiles")
_BASE: Final = "bundle:"
"""Before the name, in the parcel, of a base that is a file; before that of an artefact that is booted."""
_NO_REGISTRY: Final = (
    "oci:",
    "oci-archive:",
    "docker-archive:",
    "dir:",
    "containers-storage:",
    "docker-daemon:",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledImage:
    """An image as workers get it."""

    spec: ImageSpec
    decided: Decided | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlaces:
    """Where things are on a worker."""

    files: Path
    """What is in the parcel."""
    output: Path
    """A directory for artefacts."""
    cache: Path
    """The cache directory of the worker's user."""


def require_portable(images: Iterable[PlannedImage]) -> None:
    """Raises LocalLayers for layers with data of this machine, UsageError for images of this machine."""
    for image in images:
        name, conversion = image.spec.name, image.spec.conversion
        if conversion is not None and conversion.reference.startswith(_NO_REGISTRY):
            raise UsageError(
                f"{name} is made of {conversion.reference}, which is on this machine alone",
                hint="push the image to a registry, and name it there",
            )
        if image.decided is not None and image.decided.request is not None and image.decided.request.sign:
            raise UsageError(
                f"{name} is signed for Secure Boot, with a key that stays on this machine",
                hint="bake this image here, without --on",
            )
        for planned in image.decided.plan.steps if image.decided is not None else ():
            if planned.step.local:
                raise LocalLayers(
                    f"{name} has the flavour {planned.step.flavour}, whose layers hold data of this user or machine:"
                    " they never leave it",
                    hint="bake this image here, without --on, or take the flavour out of it",
                )


def bundle_images(images: Iterable[PlannedImage], target: Path) -> dict[str, Path]:
    """Write a file for each image below the directory `target`; what the parcel contains, by its name there."""
    contents: dict[str, Path] = {}
    target.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        files = _Files(image, contents)
        decided = image.decided
        if decided is not None and decided.request is not None:
            options = files.passed(decided.request.options)
            decided = replace(decided, request=replace(decided.request, options=options))
        portable = BundledImage(spec=_portable(image.spec, files), decided=decided)
        path = target / f"{number}.image"
        with path.open("wb") as stream:
            _Pickler(stream, files).dump(portable)
        contents[f"images/{image.spec.name}"] = path
    return contents


def save_images(images: Iterable[PlannedImage], target: Path) -> None:
    """The same for workers that share the file system: nothing is changed."""
    (target / "images").mkdir()
    for image in images:
        bundled = BundledImage(spec=image.spec, decided=image.decided)
        (target / "images" / image.spec.name).write_bytes(pickle.dumps(bundled))


def load_image(places: WorkerPlaces, name: str, environment: Mapping[str, str]) -> BundledImage:
    """An image, as it is on this worker. Raises OSError."""
    with (places.files / "images" / name).open("rb") as stream:
        image = _Unpickler(stream, places).load()
    assert isinstance(image, BundledImage)
    settings = _settled(image.spec.settings, places, environment)
    tests = tuple(replace(test, request=_settled_boot(test.request, places)) for test in image.spec.tests)
    return replace(image, spec=replace(image.spec, settings=settings, tests=tests))


def worker_settings(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """With what is a worker's own to say."""
    own = {name: environment[variable] for name, variable in _OF_WORKERS.items() if environment.get(variable)}
    sign_key = environment.get("DIBO_SIGN_KEY")
    key = resources.expanded(sign_key) if sign_key and settings.sign_key is not None else settings.sign_key
    return replace(settings, sign_key=key, **own)  # type: ignore[arg-type]  # texts all


def _portable(spec: ImageSpec, files: _Files) -> ImageSpec:
    settings = spec.settings
    base = settings.base
    if Path(base).is_file():
        base = f"{_BASE}{files.place(Path(base).absolute())}"
    settings = replace(settings, environment=files.passed(settings.environment), base=base, flavours_path=())
    tests = tuple(replace(test, request=_portable_boot(test.request, files)) for test in spec.tests)
    return replace(spec, settings=settings, tests=tests)


def _portable_boot(request: BootRequest, files: _Files) -> BootRequest:
    """What is booted is an artefact, which is named by a text. Pictures are written beside it there."""
    request = _with_pictures(request, lambda path: Path(path.name))
    if request.image is None or Path(request.image) not in files.outputs:
        return request
    return replace(request, image=f"{_BASE}{Path(request.image).name}")


def _with_pictures(request: BootRequest, place: Callable[[Path], Path]) -> BootRequest:
    steps = tuple(
        replace(step, value=str(place(Path(step.value)))) if step.kind is StepKind.SCREENSHOT else step
        for step in request.steps
    )
    return replace(request, steps=steps)


def _settled_boot(request: BootRequest, places: WorkerPlaces) -> BootRequest:
    request = _with_pictures(request, lambda path: places.output / path)  # an absolute one stays
    if request.image is None or not request.image.startswith(_BASE):
        return request
    return replace(request, image=str(places.output / request.image.removeprefix(_BASE)))


def _settled(settings: Settings, places: WorkerPlaces, environment: Mapping[str, str]) -> Settings:
    """Settings of a bundle, on this worker."""
    own = {source.variable for source in settings.secrets if source.variable} | set(_SIGN_PASSWORDS)
    passed = {name: environment[name] for name in own if name in environment}
    base = settings.base
    if base.startswith(_BASE):
        base = str(places.files / base.removeprefix(_BASE))
    settings = replace(settings, base=base, environment={**settings.environment, **passed})
    return worker_settings(settings, environment)


class _Files:
    """Which paths of an image go along, and under which name in the parcel."""

    def __init__(self, image: PlannedImage, contents: dict[str, Path]) -> None:
        """What goes along is added to `contents`."""
        spec, settings = image.spec, image.spec.settings
        flavours = image.decided.plan.recipe.stack.flavours if image.decided is not None else ()
        self._declared = {name for flavour in flavours for name, _ in flavour.environment}
        self._contents = contents
        self._names = {path: name for name, path in contents.items()}
        self.outputs = {settings.output, *output_paths(spec)}
        if spec.ramdisk is not None:
            self.outputs.add(spec.ramdisk.output)
        self._runs, self._cache = settings.cache / "runs", settings.cache
        layout = spec.layout if isinstance(spec.layout, Path) else None
        files = (layout, settings.policy, settings.keyring, *settings.verify_keys)
        self._taken = [path for path in (*files, *settings.converters_path) if path is not None]

    def passed(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Those of some variables that go along."""
        return {
            name: value
            for name, value in variables.items()
            if (name in self._declared or name in VARIABLES or name.startswith("DIBO_"))
            and not any(word in name for word in _SECRETIVE)
        }

    def place(self, path: Path) -> str:
        """The name of a file or directory in the parcel, which it is added to."""
        if path not in self._names:
            self._names[path] = name = f"files/{len(self._names)}/{path.name}"
            self._contents[name] = path
        return self._names[path]

    def found_again(self, path: Path) -> tuple[str, str] | None:
        """What stands for a path in the parcel: where it is below, and its name there. None for what stays as it is."""
        if path in self.outputs:
            return _OUTPUT, path.name
        if path == self._cache:
            return _CACHE, "."
        if path.is_relative_to(self._runs):
            return _FILES, self.place(path)
        for taken in self._taken:
            if path.is_relative_to(taken):
                return _FILES, os.path.normpath(f"{self.place(taken.absolute())}/{path.relative_to(taken)}")
        for name in _SHARED:
            if path.is_relative_to(resources.shared(name)):
                return name, str(path.relative_to(resources.shared(name)))
        return None


class _Pickler(pickle.Pickler):
    """Writes paths as they are found again."""

    def __init__(self, stream: IO[bytes], files: _Files) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._files = files

    def persistent_id(self, value: Any, /) -> tuple[str, str] | None:
        return self._files.found_again(value) if isinstance(value, Path) else None


class _Unpickler(pickle.Unpickler):
    """Reads paths as they are on this worker."""

    def __init__(self, stream: IO[bytes], places: WorkerPlaces) -> None:
        super().__init__(stream)
        self._places = places

    def persistent_load(self, value: Any, /) -> Path:
        kind, name = str(value[0]), str(value[1])
        match kind:
            case "output":
                return self._places.output / name
            case "cache":
                return self._places.cache
            case "files":
                return self._places.files / name
        return resources.shared(kind) / name
