"""Layers in a registry: listed, pruned, verified; and layers in the engine's store: pruned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from dibo.api.documents import CommandAnswer, Document, new_document
from dibo.api.session import new_run, open_engine, stack_of
from dibo.api.settings import current_settings
from dibo.build import build as spine
from dibo.build import store_pruning
from dibo.build.engine import Setup
from dibo.cache import input_sets, maintenance, resolutions
from dibo.cache.verify import verify as verify_cache
from dibo.errors import EngineError, UsageError, VerificationFailed
from dibo.images.reference import parse_repository
from dibo.plan.plan import Plan
from dibo.settings.settings import Options, Settings
from dibo.system.exclusive import alone
from dibo.system.report import Report
from dibo.trust.policy import trust_of
from dibo.units import counted, human_size, parse_gb

_DAY: Final = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What is to be removed from a repository, and whether it really is."""

    repository: str
    older_than: int | None
    """Days since a layer was used."""
    keep_stacks: tuple[str, ...]
    """Names of flavours, separated by commas: layers of these stacks stay."""
    yes: bool


def list_cache(reference: str) -> CommandAnswer:
    """The layers with their sizes, ages and use."""
    now = datetime.now(tz=UTC)
    contents = maintenance.contents(parse_repository(reference), now=now)
    return CommandAnswer(text=maintenance.describe(contents, now=now), document=_document(contents))


def _document(contents: maintenance.CacheContents) -> Document:
    entries = [
        {
            "key": entry.key,
            "digest": entry.digest,
            "title": entry.title,
            "size": entry.size,
            "unique": entry.unique,
            "made": entry.made.isoformat() if entry.made else None,
            "used": entry.used.isoformat() if entry.used else None,
        }
        for entry in contents.entries
    ]
    broken = [{"key": key, "why": reason} for key, reason in contents.broken]
    inputs = {"layers": len(contents.inputs), "size": input_sets.total_size(contents.inputs)}
    return new_document("cache-list", entries=entries, damaged=broken, size=contents.size, inputs=inputs)


def prune(
    options: Options, environment: Mapping[str, str], report: Report, wish: Pruning
) -> Iterator[CommandAnswer]:
    """What is removed, or would be; the layers go once that was taken. `options` say how the stacks that are kept are
    built."""
    repository = parse_repository(wish.repository)
    if wish.older_than is None and not wish.keep_stacks:
        raise UsageError(
            "expected what to remove: --older-than, --keep-stack, or both",
            hint="--older-than DAYS, --keep-stack FLAVOUR,FLAVOUR (all but that), or both",
        )
    now = datetime.now(tz=UTC)
    stacks = [replace(options, flavours=_names(stack)) for stack in wish.keep_stacks]
    plans = [_plan_of(stack, environment, report) for stack in stacks]
    contents = maintenance.contents(repository, now=now)
    removal = _removal(contents, plans, older_than=wish.older_than, now=now)
    for entry in contents.entries:
        if entry.foreign:
            report.warn(f"{entry.key[:12]} stays: the tag {entry.foreign}, which is not dibo's, means it too")
    yield _removal_answer(contents, removal, now=now, removed=wish.yes)
    if not wish.yes:
        if removal.layers or removal.inputs:
            report.say("nothing was removed; --yes removes what is listed")
        return
    maintenance.remove(
        repository, removal.layers, removed=lambda entry: report.say(f"removed {entry.key[:12]}")
    )
    input_sets.remove(repository, removal.inputs)
    if wish.older_than is not None:
        resolutions.remove_old(repository, before=now - timedelta(days=wish.older_than))
    if removal.layers or removal.inputs:
        report.say("the registry frees the space when it collects garbage")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Removal:
    """What a prune removes of a repository."""

    layers: tuple[maintenance.EntrySummary, ...]
    inputs: tuple[input_sets.InputSetSummary, ...]


def _removal(
    contents: maintenance.CacheContents, kept: Sequence[Plan], *, older_than: int | None, now: datetime
) -> _Removal:
    keys = {key for plan in kept for key in plan.keys}
    names = {entry.name for plan in kept for entry in input_sets.sets_of(plan).values()}
    return _Removal(
        layers=maintenance.doomed(contents, older_than=older_than, kept=keys, now=now),
        inputs=maintenance.doomed_inputs(contents, older_than=older_than, kept=names, now=now),
    )


def _removal_answer(
    contents: maintenance.CacheContents, removal: _Removal, *, now: datetime, removed: bool
) -> CommandAnswer:
    if not (removal.layers or removal.inputs):
        return _pruned("nothing to remove", [], frees=0, removed=removed)
    left = [entry for entry in contents.inputs if entry not in removal.inputs]
    frees = maintenance.freed(contents, removal.layers)
    frees += input_sets.total_size(removal.inputs, without=left)
    lines = []
    if removal.layers:
        listed = replace(contents, entries=removal.layers, broken=(), others=(), inputs=())
        lines = [maintenance.describe(listed, now=now, total=False), ""]
    inputs = f", and input files of {counted(len(removal.inputs), 'layer')}" if removal.inputs else ""
    lines.append(f"{len(removal.layers)} to remove{inputs}; frees {human_size(frees)}")
    keys = [entry.key for entry in removal.layers]
    return _pruned("\n".join(lines), keys, frees=frees, removed=removed, inputs=len(removal.inputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPruning:
    """What is to be removed from the engine's store beside layers of other epochs and leftovers, and whether it is."""

    older_than: int | None
    """Days since a layer was used."""
    max_size: str | None
    """GB that may be left."""
    keep_stacks: tuple[str, ...]
    yes: bool


def prune_local(
    options: Options, environment: Mapping[str, str], report: Report, wish: LocalPruning
) -> Iterator[CommandAnswer]:
    """What is removed from the engine's store, or would be; the layers go once that was taken. Raises EngineError while
    builds run."""
    settings = current_settings(options, environment)
    now = datetime.now(tz=UTC).timestamp()
    stacks = [replace(options, flavours=_names(stack)) for stack in wish.keep_stacks]
    rules = store_pruning.Rules(
        kept=frozenset(key for stack in stacks for key in _plan_of(stack, environment, report).keys),
        epoch=settings.epoch,
        used_before=None if wish.older_than is None else now - wish.older_than * _DAY,
        most=_bytes(wish.max_size),
        leftovers=True,
    )
    with new_run(settings) as (workspace, run), ExitStack() as stack:
        engine = open_engine(stack, settings, None, Setup(run=run, report=report))
        if not stack.enter_context(alone(workspace.store_lock)):
            raise EngineError(
                "another dibo uses layers of the engine's store now", hint="try again when it has ended"
            )
        images = store_pruning.used_images(engine.stored(), workspace.keys)
        gone = store_pruning.doomed(images, rules)
        if not gone:
            text = f"nothing to remove; layers take {human_size(store_pruning.size(images))}"
            yield _pruned(text, [], frees=0, removed=wish.yes)
            return
        frees = store_pruning.freed(images, gone)
        lines = [
            *(_line(image, now) for image in gone),
            "",
            f"{len(gone)} to remove; frees {human_size(frees)}",
        ]
        names = [name for image in gone for name in image.image.names or (image.image.identity,)]
        yield _pruned("\n".join(lines), names, frees=frees, removed=wish.yes)
        if wish.yes:
            store_pruning.remove(engine, gone, workspace.keys, report)
        else:
            report.say("nothing was removed; --yes removes what is listed")


def _pruned(text: str, layers: list[str], *, frees: int, removed: bool, inputs: int = 0) -> CommandAnswer:
    document = new_document("cache-prune", removed=removed, layers=layers, inputs=inputs, frees=frees)
    return CommandAnswer(text=text, document=document)


def _line(image: store_pruning.UsedImage, now: float) -> str:
    days = max(0, int((now - image.used) // _DAY))
    used = "used today" if days == 0 else f"used {days} days ago"
    return "  ".join(filter(None, (image.title, used, image.epoch, image.description)))


def _bytes(size: str | None) -> int | None:
    return None if size is None else parse_gb(size, name="--max-size")


def _names(stack: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in stack.split(",") if name.strip())
    if not names:
        raise UsageError("--keep-stack expects names of flavours", hint="--keep-stack vm,my-flavour")
    return names


def _plan_of(options: Options, environment: Mapping[str, str], report: Report) -> Plan:
    """The layers of a stack as it is now."""
    settings = current_settings(options, environment)
    with new_run(settings) as (workspace, run):
        stack = stack_of(settings, run)
        base = spine.base_of(settings, workspace=workspace, report=report)
        setup = Setup(run=run, report=report)
        job = spine.prepare(settings, stack, base, setup, workspace=workspace, held={})
        return job.plan


def verify(settings: Settings, report: Report, reference: str) -> CommandAnswer:
    """Read everything, and check every digest and signature. Raises VerificationFailed where something is wrong."""
    repository = parse_repository(reference)
    trust = trust_of(settings)
    with report.task(f"verify {repository}", minor=True) as task:
        count, faults = verify_cache(repository, trust, on_progress=task.line, on_bytes=task.progress)
    if faults:
        error = VerificationFailed(
            f"{repository} has {counted(len(faults), 'fault')}", hint="\n".join(faults)
        )
        error.details = tuple(faults)
        raise error
    signed = trust.verifies(repository)
    return CommandAnswer(
        text=f"{counted(count, 'layer')}, all whole{' and signed' if signed else ''}",
        document=new_document("cache-verify", layers=count, signed=signed),
    )
