"""From the keys of one image, with all that it inherits, to a ProjectImage. PROJECT_SCHEMA says the same to editors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dibo.errors import LayoutError, ProjectError, UsageError
from dibo.flavours.located_yaml import YamlKind
from dibo.images.reference import parse_image_name, parse_repository
from dibo.images.sources.table import SOURCES, ImagePlace
from dibo.layout.parse import Statement, parse_statement
from dibo.projects import keys
from dibo.projects.entry import ProjectEntry
from dibo.projects.layers import Layer, Layers
from dibo.projects.model import ConversionOptions, Destination, Position, ProjectImage, RamdiskOptions
from dibo.projects.parse_tests import boot_options, tests_of
from dibo.settings.settings import HOST_HOOKS, NETWORKS, RESTARTS
from dibo.settings.values import architecture_and_variant
from dibo.settings.variables import ProjectVariable
from dibo.units import parse_gib

_FILES = tuple(
    prefix for prefix, kind in SOURCES.items() if kind.place in (ImagePlace.DIRECTORY, ImagePlace.FILE)
)
"""Prefixes of references to images in files."""
_OF_BUILDS = ("flavours", "ramdisk", "base", "release", "no-base")
_OF_DISKS = ("types", "layout", "size", "fs-type")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryIdentity:
    """Which image is read: its key under `images`, where that is, and the values of its axes."""

    entry: str
    position: Position
    directory: Path
    """Of the project file, where artefacts go that have no destination."""
    axes: tuple[tuple[str, str], ...] = ()
    default_name: str


def parse_image(layers: Layers, identity: EntryIdentity) -> ProjectImage:
    """Raises ProjectError."""
    layers = _settled(layers)
    axes = {**dict(identity.axes), "image": identity.entry}
    name = _name(layers, identity, axes)
    image = ProjectImage(
        name=name,
        position=identity.position,
        entry=identity.entry,
        axes=identity.axes,
        architecture=_architecture(layers),
        destination=_destination(layers, identity, axes | {"name": name}),
        variable_places=_variable_places(layers, f"images.{identity.entry}"),
        **_fields(layers),
    )
    if image.convert is None and not image.flavours:
        raise ProjectError(
            f"{image.position}: images.{image.entry}: the key flavours or convert is missing",
            hint="flavours: [vm] builds a bootable disk; convert: HOST/PATH:TAG makes one of a container image",
        )
    return image


def check_keys(layer: Layer) -> None:
    """Check each value that one place says, whether or not an image uses it: all but names and destinations, which
    depend on axes. Raises ProjectError."""
    _fields(Layers(layers=(layer,)))
    for key in ("name", "destination"):
        if key in layer:
            layer[key].text()
    if "arch" in layer:
        _architecture(Layers(layers=({"arch": layer["arch"]},)))
    if "defaults" in layer:
        layer["defaults"].flag()


def _fields(layers: Layers) -> dict[str, Any]:
    """Of a ProjectImage: those that a key, or two, say by themselves."""
    conversion, convert = _conversion(layers)
    ramdisk, ramdisk_options = _ramdisk(layers)
    secrets, sources = _secrets(layers)
    boot = boot_options(layers.every("boot"))
    return {
        "flavours": _flavours(layers),
        "convert": convert,
        "base": _reference(layers, "base"),
        "release": _text(layers, "release"),
        "types": _texts(layers, "types"),
        "layout": _layout(layers),
        "packages": _texts(layers, "packages"),
        "size": _size(layers),
        "filesystem": _text(layers, "fs-type"),
        "variables": _variables(layers),
        "secrets": secrets,
        "secret_sources": sources,
        "kit": _reference(layers, "kit"),
        "conversion": conversion,
        "ramdisk": ramdisk,
        "ramdisk_options": ramdisk_options,
        "tests": tests_of(layers.every("tests"), boot),
        "boot": boot,
        "with_base": not _flag(layers, "no-base"),
        "flavours_path": _paths(layers, "flavours-path"),
        "converters_path": _paths(layers, "converters-path"),
        "epoch": _text(layers, "epoch", keys.EPOCH, "the name of an epoch, such as 2026-11"),
        "mirror": _text(layers, "mirror"),
        "provenance": _flag(layers, "provenance"),
        "sha256": _text(layers, "sha256", keys.SHA256, "64 hexadecimal digits"),
        "network": _word(layers, "network", NETWORKS),
        "host_hooks": _word(layers, "host-hooks", HOST_HOOKS),
        "caches": _repositories(layers, "cache"),
        "caches_from": _repositories(layers, "cache-from"),
        "caches_to": _repositories(layers, "cache-to"),
        "cache_files": _flag(layers, "cache-files"),
    }


def _flavours(layers: Layers) -> tuple[str, ...]:
    names = (
        name
        for entry in layers.every("flavours")
        for name in entry.texts(keys.FLAVOUR, "the name of a flavour")
    )
    return tuple(dict.fromkeys(names))


def _settled(layers: Layers) -> Layers:
    """Without what a layer below says of another kind of image: an image that is converted has no flavours, a ramdisk
    no disk. Raises ProjectError where a layer says both."""
    for kind, others in (("convert", _OF_BUILDS), ("ramdisk", _OF_DISKS)):
        place = layers.place(kind)
        if place < 0 or (kind == "ramdisk" and not _ramdisk(layers)[0]):
            continue
        layers = layers.without(others, below=place)
        for key in others:
            entry = layers.top(key)
            if entry is not None:
                entry.fail(f"{key} cannot be combined with {kind}", hint=f"leave out {kind}, or {key}")
    return layers


def replaced(entry: ProjectEntry, text: str, values: Mapping[str, str]) -> str:
    """`text` with the values of the axes that it names in braces. Raises ProjectError."""
    for match in keys.PLACEHOLDER.finditer(text):
        if match[1] not in values:
            entry.fail(
                f"nothing is called {match[0]} here",
                hint=f"known: {', '.join(f'{{{key}}}' for key in values)}",
            )
    return keys.PLACEHOLDER.sub(lambda match: values[match[1]], text)


def _name(layers: Layers, identity: EntryIdentity, axes: Mapping[str, str]) -> str:
    entry = layers.top("name")
    if entry is None:
        return identity.default_name
    name = replaced(entry, entry.text(), axes)
    if keys.IMAGE_NAME.fullmatch(name) is None:
        entry.fail(f"{name!r} cannot be the name of an image", hint=f"a name has {keys.NAME_TEXT}")
    return name


def _conversion(layers: Layers) -> tuple[ConversionOptions, str | None]:
    entry = layers.top("convert")
    if entry is None:
        return ConversionOptions(), None
    if entry.kind is not YamlKind.MAPPING:
        return ConversionOptions(), _local(entry, entry.text(expected="a reference, or a mapping"))
    given = entry.mapping(keys.CONVERT_KEYS)
    if "image" not in given:
        entry.fail("the key image is missing", hint="image: HOST/PATH:TAG")
    return ConversionOptions(
        boot_loader=given["boot-loader"].word(keys.BOOT_LOADERS) if "boot-loader" in given else None,
        bare="bare" in given and given["bare"].flag(),
        prepare="prepare" in given and given["prepare"].flag(),
        checksum="checksum" in given and given["checksum"].flag(),
        own_init=given["init"].flag() if "init" in given else None,
        restart=given["restart"].word(RESTARTS) if "restart" in given else None,
    ), _local(given["image"], given["image"].text(expected="a reference"))


def _ramdisk(layers: Layers) -> tuple[bool, RamdiskOptions]:
    entry = layers.top("ramdisk")
    if entry is None:
        return False, RamdiskOptions()
    if entry.kind is not YamlKind.MAPPING:
        return entry.flag(), RamdiskOptions()
    given = entry.mapping(keys.RAMDISK_KEYS)
    return True, RamdiskOptions(
        kernel=given["kernel"].text() if "kernel" in given else None,
        compression=given["compress"].text() if "compress" in given else None,
        microcode="microcode" in given and given["microcode"].flag(),
    )


def _local(entry: ProjectEntry, text: str) -> str:
    """A reference to an image or a base; a relative path in it begins at the directory of the file."""
    prefix = next((prefix for prefix in _FILES if text.startswith(prefix)), "")
    path = text.removeprefix(prefix)
    if not path or not (prefix or path.startswith(("./", "../"))):
        return text
    return f"{prefix}{entry.resolved(path)}"


def _reference(layers: Layers, key: str) -> str | None:
    entry = layers.top(key)
    return None if entry is None else _local(entry, entry.text())


def _text(
    layers: Layers, key: str, pattern: re.Pattern[str] | None = None, expected: str = "text"
) -> str | None:
    entry = layers.top(key)
    return None if entry is None else entry.text(pattern, expected)


def _word(layers: Layers, key: str, words: tuple[str, ...]) -> str | None:
    entry = layers.top(key)
    return None if entry is None else entry.word(words)


def _flag(layers: Layers, key: str) -> bool:
    entry = layers.top(key)
    return entry is not None and entry.flag()


def _texts(layers: Layers, key: str) -> tuple[str, ...]:
    entry = layers.top(key)
    texts = () if entry is None else entry.texts()
    if entry is not None and not texts:
        entry.fail("the list is empty")
    return texts


def _paths(layers: Layers, key: str) -> tuple[Path, ...]:
    entry = layers.top(key)
    return () if entry is None else tuple(item.local_path() for item in entry.items())


def _repositories(layers: Layers, key: str) -> tuple[str, ...]:
    entry = layers.top(key)
    if entry is None:
        return ()
    texts = []
    for item in entry.items() if entry.kind is YamlKind.LIST else (entry,):
        texts.append(item.text(expected="a repository HOST/PATH, or a list of them"))
        try:
            parse_repository(texts[-1])
        except UsageError as error:
            item.fail(error.message, hint=error.hint)
    return tuple(texts)


def _architecture(layers: Layers) -> str | None:
    """That of `arch`, or the only one of `architectures`; several are an axis, and dibo.projects.matrix has put each
    on top as `arch`."""
    entry = layers.top("arch", "architectures")
    if entry is None:
        return None
    if entry.kind is YamlKind.LIST:
        (entry,) = entry.items()
    text = entry.text(keys.ARCHITECTURE, "an architecture, such as amd64 or arm64/v8")
    try:
        architecture_and_variant(text)
    except UsageError as error:
        entry.fail(error.message)
    return text


def _size(layers: Layers) -> str | None:
    entry = layers.top("size")
    if entry is None:
        return None
    expected = "a number of GB such as 4 or 1.5"
    text = (
        entry.text(expected=expected) if entry.kind is YamlKind.TEXT else entry.number(expected, whole=False)
    )
    try:
        parse_gib(text, name="size")
    except UsageError:
        entry.fail(f"expected {expected}, got {text!r}")
    return text


def _layout(layers: Layers) -> Path | Statement | None:
    entry = layers.top("layout")
    if entry is None:
        return None
    if entry.kind is not YamlKind.MAPPING:
        if entry.kind is not YamlKind.TEXT:
            entry.fail_kind("a file, or a mapping with the keys of a layout")
        return entry.local_path()
    try:
        return parse_statement(entry.value.plain(), origin=str(entry.position), path=entry.path)
    except LayoutError as error:
        raise ProjectError(error.message, hint=error.hint) from error


def _variables(layers: Layers) -> tuple[tuple[str, str], ...]:
    variables: dict[str, str] = {}
    for entry in layers.every("variables"):
        for name, item in entry.mapping().items():
            if keys.VARIABLE.fullmatch(name) is None:
                item.fail(f"{name!r} is not the name of a variable")
            if name in keys.KEYS_OF_VARIABLES:
                item.fail(
                    f"{name} is not set by variables", hint=f"the key {keys.KEYS_OF_VARIABLES[name]} sets it"
                )
            variables[name] = _value(item)
    return tuple(sorted(variables.items()))


def _variable_places(layers: Layers, own: str) -> tuple[ProjectVariable, ...]:
    """Where variables are set: below the path of keys `own`, or for others as well."""
    places = {
        name: ProjectVariable(
            name=name,
            place=f"{item.position}: {item.path}",
            inherited=not item.path.startswith(f"{own}."),
        )
        for entry in layers.every("variables")
        for name, item in entry.mapping().items()
    }
    return tuple(places.values())


def _value(entry: ProjectEntry) -> str:
    expected = "text of one line, or a whole number"
    if entry.kind is YamlKind.INTEGER:
        return entry.number(expected)
    if entry.kind is not YamlKind.TEXT:
        entry.fail_kind(expected)
    if "\n" in entry.value.text or "\0" in entry.value.text:
        entry.fail(f"expected {expected}")
    return entry.value.text


def _secrets(layers: Layers) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names, and the sources of those that have one."""
    sources: dict[str, str] = {}
    for entry in layers.every("secrets"):
        if entry.kind is not YamlKind.MAPPING:
            for name in entry.texts(keys.SECRET, "the name of a secret"):
                sources.setdefault(name, "")
            continue
        for name, item in entry.mapping().items():
            if keys.SECRET.fullmatch(name) is None:
                item.fail(f"{name!r} cannot be the name of a secret")
            # What stands there is not shown: whoever wrote the value would find it in a log.
            if item.kind is not YamlKind.TEXT or keys.SECRET_SOURCE.fullmatch(item.value.text) is None:
                item.fail("expected a file, or env:VARIABLE; the value itself never stands in a project file")
            text = item.value.text
            sources[name] = text if text.startswith("env:") else str(item.resolved(text))
    return tuple(sources), tuple(f"{name}={source}" for name, source in sources.items() if source)


def _destination(layers: Layers, identity: EntryIdentity, values: Mapping[str, str]) -> Destination:
    entry = layers.top("destination")
    if entry is None:
        return Destination(directory=identity.directory)
    text = replaced(entry, entry.text(expected="a directory, or docker://HOST/PATH:TAG"), values)
    if not text.startswith("docker://"):
        if "://" in text:
            entry.fail(
                f"expected a directory, or docker://HOST/PATH:TAG, got {text!r}",
                hint="artefacts are uploaded to registries",
            )
        return Destination(directory=entry.resolved(text))
    try:
        parse_image_name(text)
    except UsageError as error:
        entry.fail(error.message, hint=error.hint)
    return Destination(directory=identity.directory, registry=text.removeprefix("docker://"))
