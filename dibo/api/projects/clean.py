"""`dibo clean --outputs`: the artefacts that images of a project file wrote, removed.

dibo names what it wrote in manifests, with size and sha256, so those decide: a file goes if a manifest beside it names
it and it is as it was written. An artefact of a type that the image no longer had when that manifest was written goes
if the checksum that dibo wrote for it is beside it. Other files of the same directory stay. Builds need what they made
for their tests and reports: nothing goes while one runs, and what was written since it was looked at stays.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dibo.api.documents import CommandAnswer, new_document
from dibo.api.projects.images import require_project
from dibo.api.projects.make import artefact_paths, image_build
from dibo.api.projects.requests import RAMDISK_SUFFIX
from dibo.api.provenance import check_provenance
from dibo.api.upkeep.clean import CleanResult, is_alone
from dibo.artefacts.checksums import checksum_path, is_as_recorded, room_of
from dibo.artefacts.converter import Converters
from dibo.artefacts.recorded import SUFFIX, RecordedImage, is_unchanged, read
from dibo.disk.request import ending
from dibo.errors import DiboError, ManifestError, OutputError
from dibo.projects.model import Project
from dibo.settings.settings import Options, Settings
from dibo.system import resources
from dibo.system.report import Report
from dibo.units import human_size

_KIND: Final = "outputs"
_CHANGED: Final = "it is not as dibo wrote it"
_WRITTEN_SINCE: Final = "it was written while dibo looked at it"
_Look = tuple[int, ...]
"""What tells a file from another one that takes its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenOutputs:
    """The files of one manifest. `image` wrote them; it is empty where no image of the project file does any more."""

    manifest: Path
    image: str
    files: tuple[Path, ...]
    """Artefacts and records of them that are as dibo wrote them; with the manifest, if that is all that it names."""
    looks: Mapping[Path, _Look]
    """Of what was in that directory before any of it was read."""
    kept: tuple[Path, ...] = ()
    """Artefacts that are something else now."""


@dataclass(slots=True, kw_only=True)
class _Outcome:
    sizes: dict[Path, int] = field(default_factory=dict)
    """Bytes on the disk of what went, or would."""
    failed: list[tuple[str, str]] = field(default_factory=list)


def clean_outputs(
    project_file: str | None, environment: Mapping[str, str], report: Report, *, dry_run: bool
) -> CleanResult:
    """Remove the artefacts of all images of the project file, and in directories below it that are destinations, those
    of images that it has no more. Raises ProjectError, and OutputError while builds run."""
    project = require_project(project_file, environment)
    with report.task("look at artefacts"):
        written = tuple(_written(project, environment))
    outcome = _Outcome()
    with ExitStack() as stack:
        if not dry_run:
            _require_no_build(project, environment, stack)
        for outputs in written:
            for path in outputs.kept:
                report.warn(f"{path} stays: {_CHANGED}")
            before = len(outcome.failed)
            for path in outputs.files:
                if path != outputs.manifest or len(outcome.failed) == before:  # it names what is still there
                    _remove(path, outputs.looks.get(path), outcome, dry_run=dry_run)
    for name, reason in outcome.failed:
        report.warn(f"{name} cannot be removed: {reason}")
    return CleanResult(
        answer=_answer(written, outcome, dry_run=dry_run),
        exit_code=OutputError.exit_code if outcome.failed else 0,
    )


def _require_no_build(project: Project, environment: Mapping[str, str], stack: ExitStack) -> None:
    """See to it that no build uses the cache directory of an image; none begins until the stack is closed. Raises
    OutputError."""
    builds = [image_build(image, Options(), _without_name(environment)) for image in project.images]
    for cache in sorted({build.settings.cache for build in builds}):
        if not is_alone(cache, stack):
            raise OutputError(
                "another dibo builds now, and may need what it made", hint="try again when it has ended"
            )


def _written(project: Project, environment: Mapping[str, str]) -> Iterator[WrittenOutputs]:
    owners: dict[Path, str] = {}
    names: dict[tuple[Path, str], str] = {}
    of_other_types: dict[str, tuple[Path, ...]] = {}
    for image in project.images:
        output = image.output.absolute()
        names[output.parent, output.name] = image.name
        names[output.parent, f"{output.name}{RAMDISK_SUFFIX}"] = image.name
        build = image_build(image, Options(), _without_name(environment))
        owners |= {path.absolute(): image.name for path in artefact_paths(build)}
        of_other_types[image.name] = _all_types(output, build.settings)
    own = {
        image.destination.directory
        for image in project.images
        if image.destination.directory != image.position.file.parent
        and image.destination.directory.is_relative_to(project.directory)
    }
    for directory in dict.fromkeys(place for place, _ in names):
        looks = {path: look for path in directory.glob("*") if (look := _look(path)) is not None}
        for path in sorted(directory.glob(f"*{SUFFIX}")):
            try:
                recorded = read(path)
            except ManifestError:
                continue
            artefacts = [directory / artefact.name for artefact in recorded.artefacts]
            named = names.get((directory, path.name.removesuffix(SUFFIX)))
            owner = next((owners[a] for a in artefacts if a in owners), named)
            if owner is not None or directory in own:
                former = of_other_types[named] if named is not None else ()
                files, kept = _files_of(recorded, former)
                yield WrittenOutputs(manifest=path, image=owner or "", files=files, kept=kept, looks=looks)


def _all_types(output: Path, settings: Settings) -> tuple[Path, ...]:
    """Where artefacts of every type would be."""
    converters = Converters((*settings.converters_path, resources.shared("converters")))
    return tuple(ending(output, converter) for converter in converters)


def _without_name(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in ("IMAGE_NAME", "IMAGE_TYPE")}


def _look(path: Path) -> _Look | None:
    """None of what is not there."""
    with suppress(OSError):
        status = path.lstat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return None


def _files_of(recorded: RecordedImage, former: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Of a manifest: the files that may go, and those that stay. `former` are where artefacts of types may be that it
    does not name."""
    files: list[Path] = []
    kept: list[Path] = []
    names = {artefact.name for artefact in recorded.artefacts}
    for path in former:
        if path.name not in names and is_as_recorded(path):
            files += [path, checksum_path(path)]
    for artefact in recorded.artefacts:
        path = recorded.file(artefact)
        if not os.path.lexists(path):
            continue
        if is_unchanged(recorded, artefact):
            files.append(path)
            files += [record for record in (checksum_path(path),) if _is_record_of(record, path)]
        else:
            kept.append(path)
    if not kept:
        files += [*_provenance(recorded), recorded.path]
    return tuple(files), tuple(kept)


def _provenance(recorded: RecordedImage) -> Iterator[Path]:
    """What is beside a manifest, and says the same."""
    try:
        checked = check_provenance(recorded, ())
    except DiboError:
        return
    if checked is not None:
        yield checked.path


def _is_record_of(record: Path, path: Path) -> bool:
    """Whether a file has sums of that artefact alone, as sha256sum(1) writes them."""
    try:
        lines = record.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return False
    names = [line.partition("  ")[2] for line in lines]
    return record.is_file() and all(name.partition("/")[0] == path.name for name in names)


def _remove(path: Path, look: _Look | None, outcome: _Outcome, *, dry_run: bool) -> None:
    """Unless it looks otherwise by now; what is gone already counts as removed by others."""
    now = _look(path)
    if now is None:
        return
    if now != look:
        outcome.failed.append((str(path), _WRITTEN_SINCE))
        return
    try:
        size = room_of(path)
        if not dry_run and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif not dry_run:
            path.unlink()
    except OSError as error:
        outcome.failed.append((str(path), error.strerror or str(error)))
    else:
        outcome.sizes[path] = size


def _answer(written: Sequence[WrittenOutputs], outcome: _Outcome, *, dry_run: bool) -> CommandAnswer:
    total = sum(outcome.sizes.values())
    lines = []
    for outputs in written:
        text = outputs.image or "of no image of the project file any more"
        lines += [
            f"{human_size(outcome.sizes[path]):>9}  {_shown(path)}  ({text})"
            for path in outputs.files
            if path in outcome.sizes
        ]
    done = "would free" if dry_run else "freed"
    return CommandAnswer(
        text="\n".join([*lines, f"{done} {human_size(total)}"]) if lines else "nothing to clean",
        document=new_document(
            "clean",
            removed=not dry_run,
            kinds=[
                {
                    "kind": _KIND,
                    "engine": None,
                    "count": len(outcome.sizes),
                    "size": total,
                    "names": [str(path) for path in outcome.sizes],
                }
            ]
            if outcome.sizes
            else [],
            size=total,
            kept=[{"what": str(path), "why": _CHANGED} for outputs in written for path in outputs.kept],
            failed=[{"what": name, "why": reason} for name, reason in outcome.failed],
        ),
    )


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
