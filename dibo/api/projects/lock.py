"""What images are made of at this moment, in a file: packages, bases, fetched files, snapshots of archives."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import indent

from dibo.api.documents import CommandAnswer, new_document
from dibo.api.session import new_session, stack_of
from dibo.build.archives.locked import locked_files, read_lock
from dibo.build.build import Job
from dibo.build.fetched_files import requests_of_stack
from dibo.errors import OutputError, UsageError
from dibo.plan.base import Base
from dibo.plan.lock import (
    Lock,
    LockedBase,
    LockedFile,
    lock_changes,
    lock_document,
    moved_packages,
    parse_lock,
)
from dibo.plan.packages import ChosenPackages
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.system.terminal import without_controls
from dibo.units import counted


def lock(images: Sequence[Settings], report: Report, *, path: Path, diff: bool) -> CommandAnswer:
    """Write the lock of some images, or with `diff` say what moved since it was written. Raises UsageError where an
    epoch is named, ManifestError for a file that is no lock, and what `FetchedFiles.bring` raises."""
    document, bases = _document_of(images, report, fetches=not diff)
    now = parse_lock(document)
    before = read_lock(path) if diff or path.exists() else None
    changes = lock_changes(now, before) if before is not None else ()
    changelogs = _changelogs(now, before, bases, report) if diff and before is not None else ()
    if not diff:
        _write(path, document)
    listed = [f"{title}\n" + "\n".join(f"    {line}" for line in lines) for title, lines in changes]
    listed += [f"\n{', '.join(names)}\n" + indent(text, "    ") for names, text in changelogs]
    packages = counted(len({p.identity for answer in now.packages.values() for p in answer}), "package")
    files = f", {counted(len(now.fetched), 'fetched file')}" if now.fetched else ""
    written = f"{path}: {packages}, {counted(len(now.bases), 'base')}{files}"
    text = "\n".join([*listed, *([] if diff else [written])]) or f"{path}: nothing moved"
    return CommandAnswer(
        text=text,
        document=new_document(
            "lock",
            file=str(path),
            written=not diff,
            moved=[{"title": title, "changes": list(lines)} for title, lines in changes],
            changelogs=[{"packages": list(names), "text": text} for names, text in changelogs],
        ),
    )


def _changelogs(
    now: Lock, before: Lock, bases: Mapping[str, Base], report: Report
) -> tuple[tuple[tuple[str, ...], str], ...]:
    """(names, entries) of packages that moved; those of one source are together."""
    of_text: dict[str, dict[str, None]] = {}
    moved = moved_packages(now, before)
    if not moved:
        return ()
    with report.task("reading changelogs"):
        for wish, packages in moved.items():
            for (package, _), text in zip(packages, bases[wish].news_of(packages), strict=True):
                if text:
                    of_text.setdefault(without_controls(text), {})[package.name] = None
    return tuple((tuple(names), text) for text, names in of_text.items())


def _document_of(
    images: Sequence[Settings], report: Report, *, fetches: bool
) -> tuple[dict[str, object], dict[str, Base]]:
    """The lock, and the base of each wish. With `fetches`, files are fetched, so that the lock is of files that are
    there."""
    base_of: dict[str, Base] = {}
    fetched: dict[str, LockedFile] = {}
    answers: dict[str, ChosenPackages] = {}
    bases: dict[str, LockedBase] = {}
    snapshots: dict[str, None] = {}
    epochs = {settings.epoch for settings in images}
    if len(epochs) != 1 or any(settings.epoch_named for settings in images):
        raise UsageError(
            "a lock is of packages that are chosen, and with an epoch that is named none are",
            hint="leave out --epoch, DIBO_EPOCH and `epoch` of the project file",
        )
    for settings in images:
        with new_session(replace(settings, lock=None), report) as session:
            job = session.job(stack_of(settings, session.run))
            plan = job.plan
            name = f"{plan.base_name} {plan.recipe.architecture}"
            bases[name] = LockedBase(name=name, ingredients=json.loads(plan.base_ingredients)["base"])
            answers |= {answer.wish: answer for answer in plan.resolution.answers}
            base_of |= dict.fromkeys((answer.wish for answer in plan.resolution.answers), job.base)
            snapshots |= dict.fromkeys(job.base.snapshots())
            files = locked_files(job.stack, plan.recipe.architecture)
            fetched |= _with_sizes(job, files) if fetches else files
    document = lock_document(
        answers.values(),
        epoch=epochs.pop(),
        bases=tuple(bases.values()),
        snapshots=tuple(snapshots),
        fetched=fetched,
    )
    return document, base_of


def _with_sizes(job: Job, files: Mapping[str, LockedFile]) -> dict[str, LockedFile]:
    requests = requests_of_stack(job.stack, job.recipe.architecture)
    with job.fetched.ahead(requests):
        sizes = {entry.file.sha256: job.fetched.bring(entry).stat().st_size for entry in requests}
    return {name: replace(file, size=sizes[file.sha256]) for name, file in files.items()}


def _write(path: Path, document: Mapping[str, object]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
