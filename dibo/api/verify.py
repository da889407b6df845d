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
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from dibo.api.contents.look_closer import directory_changes, look_closer
from dibo.api.conversions.again import ConversionAgain, recorded_layout
from dibo.api.create import PlannedDisk, planned_disk
from dibo.api.documents import CommandAnswer, new_document
from dibo.api.provenance import CheckedProvenance, check_provenance
from dibo.api.ramdisk import PlannedRamdisk, planned_ramdisk
from dibo.api.session import new_run
from dibo.api.settings import current_settings
from dibo.artefacts.build_manifest import flavour_digest, flavour_files
from dibo.artefacts.manifest import SUFFIX
from dibo.artefacts.recorded import Manifest, RecordedImage, check_files, find, read_as_manifest
from dibo.errors import Differs, ManifestError
from dibo.flavours.model import Flavour
from dibo.flavours.stack import Stack
from dibo.inspect.compare import first_difference
from dibo.plan.plan import Plan
from dibo.ramdisk.compress import parse_compression
from dibo.ramdisk.settings import RamdiskSettings
from dibo.settings.settings import Options, Settings
from dibo.settings.variables import VARIABLES
from dibo.system.report import Report
from dibo.trust.keys import read_public_key
from dibo.units import counted, format_gib

_SHAPING: Final = (
    *("ARCH", "RELEASE", "FS_TYPE", "IMAGE_TYPE", "IMAGE_NAME", "IMAGE_SIZE", "SOURCE_DATE_EPOCH"),
    *("DIBO_BASE", "DIBO_EPOCH", "DIBO_QCOW2_COMPRESSION"),
)

_SHOWN_FILES: Final = 5


def verify(
    options: Options,
    environment: Mapping[str, str],
    report: Report,
    *,
    path: Path,
    cached: bool,
    build: bool = True,
) -> CommandAnswer:
    """That all is the same: the files, their provenance, what they were made of, and, with `build`, what is made again.
    Raises Differs, ManifestError, SignatureError where options name keys and none of them signed the provenance, and
    what a build or a conversion raises."""
    recorded = find(path)
    with read_as_manifest(recorded.path):
        tampered = check_files(recorded)
    for line in tampered:
        report.warn(line)
    checked = check_provenance(recorded, [read_public_key(Path(key)) for key in options.verify_keys])
    with read_as_manifest(recorded.path):
        first = _first_run(recorded, options, environment, cached=cached)
    if not build:
        first.check(report)
        if tampered:
            raise _differs(tampered, made_again=False)
        return _same(recorded, checked, build=False)
    with new_run(first.settings()) as (_, run):
        directory = run.subdirectory("again")
        first.make(directory, report)
        made = json.loads((directory / recorded.path.name).read_text())
        differences = [*_differences(recorded, made, directory)]
        if not differences and not tampered:
            return _same(recorded, checked, build=True)
        lines = list(differences)
        for artefact in recorded.artefacts:
            made_again = directory / artefact.name
            lines += look_closer(recorded.file(artefact), made_again, artefact.type, run, report)
    raise _differs(lines, made_again=bool(differences))


def _differs(lines: Sequence[str], *, made_again: bool) -> Differs:
    error = Differs(
        "what was built again is not the same" if made_again else "a file is not what its manifest says",
        hint="docs/explanation/reproducible.md has what is known to differ",
    )
    error.details = tuple(lines)
    return error


def _same(recorded: RecordedImage, checked: CheckedProvenance | None, *, build: bool) -> CommandAnswer:
    layers, artefacts = len(recorded.manifest["layers"]), len(recorded.artefacts)
    words = "are the same" if build else "are those of the manifest; nothing was built"
    signer = checked.signer.name if checked is not None and checked.signer is not None else None
    text = f"{recorded.path}: {counted(layers, 'layer')} and {counted(artefacts, 'artefact')} {words}"
    if checked is not None:
        text += f"\n{checked.path}: {f'signed by {signer}' if signer else 'agrees with the manifest'}"
    return CommandAnswer(
        text=text,
        document=new_document(
            "verify",
            manifest=str(recorded.path),
            layers=layers,
            artefacts=artefacts,
            built=build,
            provenance=str(checked.path) if checked is not None else None,
            signed_by=signer,
        ),
    )


class _Build:
    """A build from flavours, again."""

    def __init__(
        self, recorded: RecordedImage, options: Options, environment: Mapping[str, str], *, cached: bool
    ) -> None:
        self._manifest, self._name = recorded.manifest, output_name(recorded)
        again_options, self._environment = again(recorded.manifest, recorded.path, options, environment)
        self._options = replace(again_options, refresh=not cached)

    def settings(self, directory: Path | None = None) -> Settings:
        name = str(directory / self._name) if directory is not None else None
        return current_settings(replace(self._options, name=name), self._environment)

    def check(self, report: Report) -> None:
        """Raises ManifestError unless flavours and keys are those of the manifest."""
        with new_run(self.settings()) as (_, run):
            directory = run.subdirectory("again")
            with _planned(self._manifest, self.settings(directory), directory, report) as planned:
                check_layers(self._manifest, planned.job.plan)

    def make(self, directory: Path, report: Report) -> None:
        with _planned(self._manifest, self.settings(directory), directory, report) as planned:
            check_layers(self._manifest, planned.job.plan)
            planned.make()


class _Conversion:
    """A conversion of an image, again."""

    def __init__(self, recorded: RecordedImage, options: Options, environment: Mapping[str, str]) -> None:
        own = {name: value for name, value in environment.items() if not _shapes(name)}
        self._manifest, self._name = recorded.manifest, output_name(recorded)
        self._conversion = ConversionAgain(recorded.manifest, options, own)

    def settings(self) -> Settings:
        return self._conversion.settings()

    def check(self, _report: Report) -> None:
        self._conversion.check()

    def make(self, directory: Path, report: Report) -> None:
        layout_file = recorded_layout(self._manifest, directory)
        self._conversion.make(directory / self._name, layout_file, report)


def _first_run(
    recorded: RecordedImage, options: Options, environment: Mapping[str, str], *, cached: bool
) -> _Build | _Conversion:
    if "image" in recorded.manifest:
        return _Conversion(recorded, options, environment)
    return _Build(recorded, options, environment, cached=cached)


def again(
    manifest: Manifest, path: Path, options: Options, own: Mapping[str, str]
) -> tuple[Options, dict[str, str]]:
    """The options and variables that build it again, of the manifest at `path`; what `options` says of this machine
    stays, and so do those of the user's `own` variables that do not shape what is built. Raises ManifestError."""
    if "image" in manifest:
        raise ManifestError(
            f"this was made of the image {manifest['image']['name']} by `dibo convert`, not built",
            hint="convert that image again",
        )
    if "elements" in manifest:
        raise ManifestError(
            "this was built of elements of diskimage-builder, and no manifest has all variables and files that their "
            "scripts saw",
            hint="run the same command again in an empty directory; `dibo diff` says how both differ",
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
            lock=str(path) if "lock" in manifest else None,
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
        if flavour_digest(flavour) != recorded["digest"]:
            raise ManifestError(
                f"the flavour {flavour.name!r} in {flavour.origin} is not the one that the image was built of"
                f"{_other_files(flavour, recorded)}",
                hint="check out the state of the flavours that the image was built of, or name it with "
                "--flavours-path",
            )
    ramdisk = manifest.get("ramdisk")
    if ramdisk is not None and (ramdisk["kernel-of-this-machine"] or ramdisk["busybox-of-this-machine"]):
        raise ManifestError("the ramdisk holds parts of the machine that made it, which only that has")


def _other_files(flavour: Flavour, recorded: Mapping[str, Any]) -> str:
    """The files that differ, for a message; nothing where the manifest does not have them."""
    if "files" not in recorded:
        return ""
    before, now = recorded["files"], flavour_files(flavour)
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    listed = ", ".join(names[:_SHOWN_FILES])
    return f": {counted(len(names), 'file')} changed, {listed}" if names else ": a file has another mode"


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
    return manifest.name.removesuffix(SUFFIX)


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


def _differences(recorded: RecordedImage, made: Manifest, directory: Path) -> Iterator[str]:
    """Lines about layers, packages and artefacts."""
    for old, new in zip(recorded.manifest["layers"], made["layers"], strict=True):
        if old.get("digest") != new.get("digest"):
            yield f"the first layer that differs: {old.get('title') or old.get('diff-id')}"
            break
    yield from _packages(recorded.manifest["packages"] or (), made["packages"] or ())
    for artefact in recorded.artefacts:
        yield from _difference(recorded.file(artefact), directory / artefact.name)


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
