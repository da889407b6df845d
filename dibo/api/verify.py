"""Verification: builds again what a manifest describes, and compares it with the existing artefacts.

First everything that the build would start from: files by their checksums, flavours by their digests, layers by their
keys. Only what starts from the same can end as the same; where it does not, the error says what is another. Then the
build, into a directory of the run, anew unless layers of the cache will do. Last the comparison: artefacts by their
bytes; where these differ, layers and packages, and the files of the disks one by one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from dibo.api.contents.look_closer import directory_changes, look_closer
from dibo.api.create import PlannedDisk, planned_disk
from dibo.api.documents import CommandAnswer, new_document
from dibo.api.ramdisk import PlannedRamdisk, planned_ramdisk
from dibo.api.session import new_run
from dibo.api.settings import current_settings
from dibo.artefacts import manifest as provenance
from dibo.artefacts.outputs import sha256_of
from dibo.errors import Differs, ManifestError
from dibo.flavours.stack import Stack
from dibo.inspect.compare import first_difference
from dibo.plan.plan import Plan
from dibo.ramdisk.compress import parse_compression
from dibo.ramdisk.settings import RamdiskSettings
from dibo.settings.settings import Options, Settings
from dibo.settings.variables import VARIABLES
from dibo.system.report import Report
from dibo.units import counted, format_gib

_SHAPING: Final = (
    *("ARCH", "RELEASE", "FS_TYPE", "IMAGE_TYPE", "IMAGE_NAME", "IMAGE_SIZE", "SOURCE_DATE_EPOCH"),
    *("DIBO_BASE", "DIBO_EPOCH", "DIBO_QCOW2_COMPRESSION"),
)

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedImage:
    """A manifest, and the artefacts beside it that are to be compared."""

    path: Path
    manifest: Manifest
    artefacts: tuple[Mapping[str, Any], ...]

    def file(self, artefact: Mapping[str, Any]) -> Path:
        return self.path.with_name(str(artefact["name"]))


def verify(
    options: Options, environment: Mapping[str, str], report: Report, *, path: Path, cached: bool
) -> CommandAnswer:
    """That all is the same. Raises Differs, ManifestError, and what a build raises."""
    recorded = find(path)
    with _read_as_manifest(recorded.path):
        tampered = check_files(recorded)
    for line in tampered:
        report.warn(line)
    with _read_as_manifest(recorded.path):
        options, environment = again(recorded.manifest, options, environment)
        name = output_name(recorded)
    settings = current_settings(options, environment)
    with new_run(settings) as (_, run):
        directory = run.subdirectory("again")
        output = directory / name
        settings = current_settings(replace(options, refresh=not cached, name=str(output)), environment)
        with _planned(recorded.manifest, settings, directory, report) as planned:
            check_layers(recorded.manifest, planned.job.plan)
            planned.make()
        made = json.loads((directory / recorded.path.name).read_text())
        differences = [*_differences(recorded, made, directory)]
        if not differences and not tampered:
            return _same(recorded)
        lines = list(differences)
        for artefact in recorded.artefacts:
            made_again = directory / str(artefact["name"])
            lines += look_closer(recorded.file(artefact), made_again, str(artefact["type"]), run, report)
    error = Differs(
        "what was built again is not the same" if differences else "a file is not what its manifest says",
        hint="docs/explanation/reproducible.md has what is known to differ",
    )
    error.details = tuple(lines)
    raise error


def _same(recorded: RecordedImage) -> CommandAnswer:
    layers, artefacts = len(recorded.manifest["layers"]), len(recorded.artefacts)
    return CommandAnswer(
        text=f"{recorded.path}: {counted(layers, 'layer')} and {counted(artefacts, 'artefact')} are the same",
        document=new_document("verify", manifest=str(recorded.path), layers=layers, artefacts=artefacts),
    )


def find(path: Path) -> RecordedImage:
    """The manifest at `path`, or the one beside the artefact there. Raises ManifestError."""
    if not path.is_file() and not path.is_dir():
        raise ManifestError(
            f"{path} is neither a file nor a directory", hint="name an image, or its manifest"
        )
    if path.name.endswith(provenance.SUFFIX):
        manifest = _read(path)
        return RecordedImage(path=path, manifest=manifest, artefacts=tuple(manifest["artefacts"]))
    for candidate in sorted(path.absolute().parent.glob(f"*{provenance.SUFFIX}")):
        manifest = _read(candidate)
        named = tuple(artefact for artefact in manifest["artefacts"] if artefact["name"] == path.name)
        if named:
            return RecordedImage(path=candidate, manifest=manifest, artefacts=named)
    raise ManifestError(
        f"no manifest beside {path} names it",
        hint=f"dibo writes NAME{provenance.SUFFIX} beside what it makes: keep them together",
    )


@contextmanager
def _read_as_manifest(path: Path) -> Iterator[None]:
    """What is missing in a manifest, or is of another kind, is ManifestError."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(
            f"{path} is no manifest: {error!r}", hint="name the one that dibo wrote beside the image"
        ) from error


def _read(path: Path) -> Manifest:
    try:
        manifest = json.loads(path.read_text())
        if manifest["format"] != provenance.FORMAT:
            raise ManifestError(
                f"{path} has the format {manifest['format']}; this dibo knows {provenance.FORMAT}"
            )
        if not all(_is_name(artefact["name"]) for artefact in manifest["artefacts"]):
            raise ManifestError(f"{path} names files elsewhere")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestError(f"{path} is no manifest: {error!r}") from error
    return dict(manifest)


def _is_name(name: str) -> bool:
    """Whether it is that of a file in the directory of the manifest."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def check_files(recorded: RecordedImage) -> list[str]:
    """What is not as the manifest says. Raises ManifestError where a file is missing."""
    tampered = []
    for artefact in recorded.artefacts:
        file = recorded.file(artefact)
        if not file.exists():
            raise ManifestError(f"{file}, which {recorded.path.name} names, is not there")
        if artefact["sha256"] is not None and sha256_of(file) != artefact["sha256"]:
            kind = "directory" if file.is_dir() else "file"
            tampered.append(
                f"{file} is not the {kind} that {recorded.path.name} describes: its sha256 is another"
            )
    return tampered


def again(manifest: Manifest, options: Options, own: Mapping[str, str]) -> tuple[Options, dict[str, str]]:
    """The options and variables that build it again; what `options` says of this machine stays, and so do
    those of the user's `own` variables that do not shape what is built. Raises ManifestError."""
    if "image" in manifest:
        raise ManifestError(
            f"this was made of the image {manifest['image']['name']} by `dibo convert`, not built",
            hint="convert that image again, and compare with cmp",
        )
    base = manifest["base"]
    base_name = options.base or base["wanted"] or own.get("DIBO_BASE")
    if base_name is None:
        raise ManifestError(
            f"the base is {base['name']}, a file of the machine that built the image",
            hint="name the same file with --base",
        )
    environment = {name: value for name, value in own.items() if not _shapes(name)}
    environment |= {name: value for name, value in manifest["environment"].items() if value is not None}
    environment |= manifest["options"]
    environment["SOURCE_DATE_EPOCH"] = str(manifest["source-date-epoch"])
    disk = manifest.get("disk")
    sized = disk is not None and disk["size-set-by"] in ("--image-size", "IMAGE_SIZE")
    asked = [flavour["name"] for flavour in manifest["flavours"] if flavour["asked"]]
    return (
        replace(
            options,
            flavours=tuple(asked),
            with_base=False,
            architecture=manifest["architecture"],
            base=base_name,
            release=base["release"],
            mirror=options.mirror or base["mirror"],
            epoch=manifest["epoch"],
            types=",".join(artefact["type"] for artefact in manifest["artefacts"])
            if disk is not None
            else None,
            image_size=format_gib(disk["size"]) if sized and disk is not None else None,
            filesystem=_named_filesystem(disk),
            loop=bool(disk is not None and disk["loop"]),
        ),
        environment,
    )


def _named_filesystem(disk: Mapping[str, Any] | None) -> str | None:
    """What --fs-type is to say: nothing for dibo's default, which a layout may overrule."""
    return str(disk["filesystem"]) if disk is not None and disk["filesystem"] != "ext4" else None


def _shapes(name: str) -> bool:
    """Whether a variable changes what is built: the values in the manifest count, not those of this environment."""
    return name in _SHAPING or (name.startswith("DIBO_") and name not in VARIABLES)


def check_flavours(manifest: Manifest, stack: Stack) -> None:
    """Raises ManifestError if a flavour differs from the recorded one, or needs data that only another machine has."""
    flavours = {flavour.name: flavour for flavour in stack.flavours}
    for recorded in manifest["flavours"]:
        flavour = flavours.get(recorded["name"])
        if flavour is None:
            raise ManifestError(
                f"the flavour {recorded['name']!r} is not part of the stack any more",
                hint="check out the state of the flavours that the image was built of",
            )
        if provenance.flavour_digest(flavour) != recorded["digest"]:
            raise ManifestError(
                f"the flavour {flavour.name!r} in {flavour.origin} is not the one that the image was built of",
                hint="check out the state of the flavours that the image was built of, or name it with "
                "--flavours-path",
            )
    ramdisk = manifest.get("ramdisk")
    if ramdisk is not None and (ramdisk["kernel-of-this-machine"] or ramdisk["busybox-of-this-machine"]):
        raise ManifestError("the ramdisk holds parts of the machine that made it, which only that has")


def check_layers(manifest: Manifest, plan: Plan) -> None:
    """Raises ManifestError where a layer would get another key than then."""
    of_base = max(1, len(manifest["layers"]) - len(plan.steps))  # an image may have several
    keys = [(plan.base_name, plan.base_key)] * of_base
    keys += [(step.step.title, step.key) for step in plan.steps]
    for layer, (title, key) in itertools.zip_longest(manifest["layers"], keys, fillvalue=("", "")):
        if not isinstance(layer, dict) or layer["key"] != key:
            name = layer["title"] if isinstance(layer, dict) else title
            raise ManifestError(
                f"the layer {name!r} would get a different key than the manifest records",
                hint="its flavours are the same: it is the base, dibo's own version, or a variable whose value the "
                "manifest does not tell; `dibo why` compares ingredients",
            )


def output_name(recorded: RecordedImage) -> str:
    """What -o was given, or as good. The names of some types do not end in the type."""
    first = recorded.manifest["artefacts"][0]
    name = str(first["name"])
    if "ramdisk" in recorded.manifest:
        return name
    ending = f".{first['type']}"
    return name.removesuffix(ending) if name.endswith(ending) else _stem(recorded.path)


def _stem(manifest: Path) -> str:
    return manifest.name.removesuffix(provenance.SUFFIX)


def _planned(
    manifest: Manifest, settings: Settings, directory: Path, report: Report
) -> AbstractContextManager[PlannedDisk | PlannedRamdisk]:
    check = partial(check_flavours, manifest)
    if "ramdisk" in manifest:
        ramdisk = manifest["ramdisk"]
        ramdisk_settings = RamdiskSettings(
            output=settings.output,
            kernel_version=ramdisk["kernel-version"],
            module_root=None,
            busybox=None,
            compression=parse_compression(ramdisk["compression"]),
            microcode=ramdisk["microcode"],
        )
        return planned_ramdisk(settings, ramdisk_settings, report, check_stack=check)
    return planned_disk(settings, report, layout_file=recorded_layout(manifest, directory), check_stack=check)


def recorded_layout(manifest: Manifest, directory: Path) -> Path | None:
    """The layout of a disk, as a file in `directory`, where it came from a file."""
    if not manifest["disk"]["layout-of-a-file"]:
        return None
    layout_file = directory / "layout.yaml"
    layout_file.write_text(json.dumps(manifest["disk"]["layout"]))
    return layout_file


def _differences(recorded: RecordedImage, made: Manifest, directory: Path) -> Iterator[str]:
    """Lines about layers, packages and artefacts."""
    for old, new in zip(recorded.manifest["layers"], made["layers"], strict=True):
        if old.get("digest") != new.get("digest"):
            yield f"the first layer that differs: {old['title']}"
            break
    yield from _packages(recorded.manifest["packages"] or (), made["packages"] or ())
    for artefact in recorded.artefacts:
        yield from _difference(recorded.file(artefact), directory / str(artefact["name"]))


def _difference(expected: Path, actual: Path) -> Iterator[str]:
    """That two artefacts differ; nothing where they are the same."""
    if expected.is_dir() != actual.is_dir():
        yield f"{expected}: {'a directory' if expected.is_dir() else 'a file'} then, another kind of file now"
    elif expected.is_dir():
        if directory_changes(expected, actual):
            yield f"{expected} differs"
    elif (at := first_difference(expected, actual)) is not None:
        yield f"{expected} differs from byte {at} on"


def _packages(old: Sequence[Mapping[str, str]], new: Sequence[Mapping[str, str]]) -> Iterator[str]:
    before, after = (
        {(p["name"], p["architecture"]): p["version"] for p in packages} for packages in (old, new)
    )
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"package {name[0]}: {before.get(name, 'none')} then, {after.get(name, 'none')} now"
