"""The base that buildah builds from a Containerfile: `containerfile:FILE`, for the element `containerfile`.

Variables of diskimage-builder say the rest, as in its element: DIB_CONTAINER_CONTEXT, the directory that the
Containerfile copies from (the directory `containerfile` of the cache, where there is one);
DIB_CONTAINERFILE_NETWORK_DRIVER (that of steps); DIB_CONTAINERFILE_BUILDOPTS.

Ingredients are the text, in which images are named by digests, the files of the context, the options and the epoch,
since commands of a Containerfile install what there is on their day.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dibo.build import foreign
from dibo.build.bases.containerfile_text import with_digests
from dibo.build.bases.image import RegistryImage
from dibo.build.bases.settings import BaseSettings, ConfiguredBase
from dibo.errors import BaseError, UsageError
from dibo.flavours.files import read_files
from dibo.flavours.model import FlavourFile
from dibo.plan.base import PRIVATE, ContainerBuild, Ingredients, OciImage
from dibo.system.resources import expanded

PREFIX: Final = "containerfile:"
CONTEXT: Final = "DIB_CONTAINER_CONTEXT"
NETWORK: Final = "DIB_CONTAINERFILE_NETWORK_DRIVER"
OPTIONS: Final = "DIB_CONTAINERFILE_BUILDOPTS"
_NETWORKS: Final = ("host", "none", PRIVATE)
_OF_BRIDGE: Final = "bridge"
_SIZE_LIMIT: Final = 1 << 20  # bytes of a Containerfile


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions:
    """Of DIB_CONTAINERFILE_BUILDOPTS."""

    first: str = ""
    """The image in the place of that of the first FROM."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    """The stage that is built, where it is not the last."""

    def words(self) -> tuple[str, ...]:
        """For `buildah build`, which needs no other image any more."""
        words = [f"--build-arg={name}={value}" for name, value in sorted(self.arguments.items())]
        return (*words, *([f"--target={self.target}"] if self.target else []))


class Containerfile(ConfiguredBase):
    """A Containerfile. What it names is looked up once."""

    def __init__(self, spec: str, *, settings: BaseSettings, default_context: Path) -> None:
        """`default_context` is the context where none is named."""
        super().__init__(settings)
        environment = dict(settings.container_build)
        self._path = expanded(spec.removeprefix(PREFIX)).absolute()
        self._options = parse_options(environment.get(OPTIONS, ""))
        self._network = network_of(environment.get(NETWORK, ""), steps=settings.network)
        self._context = context_of(environment.get(CONTEXT, ""), default_context)
        if not self._path.is_file():
            raise UsageError(
                f"there is no Containerfile {self._path}", hint="set DIB_CONTAINERFILE_DOCKERFILE"
            )
        if not foreign.is_native(settings.architecture):
            raise UsageError(
                f"a Containerfile is built for the architecture of this machine, not for {settings.architecture}",
                hint="build it on such a machine, push it, and begin with it: --base HOST/NAME:TAG",
            )
        self._build: ContainerBuild | None = None

    @property
    def name(self) -> str:
        return f"{PREFIX}{self._path.name}"

    @property
    def tools(self) -> tuple[str, ...]:
        return ("buildah",)

    def ingredients(self) -> Ingredients:
        build = self.source()
        return (
            ("kind", "containerfile"),
            ("text", hashlib.sha256(build.text.encode()).hexdigest()),
            ("images", " ".join(image.reference.rpartition("@")[2] for image in build.images)),
            ("context", _digest_of(build.files)),
            ("options", hashlib.sha256(json.dumps([*build.options, build.network]).encode()).hexdigest()),
            ("epoch", self._settings.epoch),
        )

    def source(self) -> ContainerBuild:
        if self._build is None:
            images: dict[str, OciImage] = {}

            def locate(name: str) -> str:
                if name not in images:
                    images[name] = RegistryImage(name, settings=self._settings).source()
                return images[name].reference.removeprefix("docker://")

            text = with_digests(
                self._text(),
                first=self._options.first,
                arguments=self._options.arguments,
                locate=locate,
            )
            self._build = ContainerBuild(
                text=text,
                images=tuple(images.values()),
                context=self._context,
                files=read_files(self._context) if self._context is not None else (),
                options=self._options.words(),
                network=self._network,
            )
        return self._build

    def _text(self) -> str:
        try:
            if self._path.stat().st_size > _SIZE_LIMIT:
                raise BaseError(f"{self._path} is larger than {_SIZE_LIMIT >> 20} MiB")
            return self._path.read_text()
        except OSError as error:
            raise BaseError(f"cannot read {self._path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise BaseError(f"{self._path} is not UTF-8") from error


def parse_options(text: str) -> ContainerOptions:
    """The options of `buildah build` in a text that a shell would split. Raises UsageError for others than those that
    say which image is built."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{OPTIONS} has a quote that is not closed: {text!r}") from error
    first, target = "", ""
    arguments: dict[str, str] = {}
    for option, value in _pairs(words):
        if option == "--from":
            first = value
        elif option == "--target":
            target = value
        elif option == "--build-arg" and "=" in value:
            name, _, arguments[name] = value.partition("=")
        else:
            raise UsageError(
                f"{OPTIONS} has {option} {value}".rstrip() + ", which dibo does not pass on",
                hint="it passes on --from IMAGE, --build-arg NAME=VALUE and --target STAGE",
            )
    return ContainerOptions(first=first, arguments=arguments, target=target)


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """(option, value) for `--option value` and `--option=value`."""
    pairs, rest = [], list(words)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        pairs.append((option, value if equals else rest.pop(0) if rest else ""))
    return pairs


def network_of(driver: str, *, steps: str) -> str:
    """The network of a Containerfile's commands: `driver`, or that of steps, which may be none. Raises UsageError."""
    driver = PRIVATE if driver == _OF_BRIDGE else driver
    if driver and driver not in _NETWORKS:
        raise UsageError(
            f"{NETWORK} is {driver!r}, which buildah does not have for an ordinary user",
            hint=f"it has {', '.join((*_NETWORKS, _OF_BRIDGE))}",
        )
    return "none" if steps == "none" else driver or steps


def context_of(text: str, default: Path) -> Path | None:
    """The directory to copy from; None for an empty one. Raises UsageError where one was named that is not there."""
    if not text:
        return default if default.is_dir() else None
    context = expanded(text).absolute()
    if not context.is_dir():
        raise UsageError(f"{CONTEXT} names {context}, which is no directory")
    return context


def _digest_of(files: Sequence[FlavourFile]) -> str:
    rows = [[file.path, file.kind, file.mode, file.digest, file.target] for file in files]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
