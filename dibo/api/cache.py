"""Layers in a registry: listed, pruned, verified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dibo.api.session import new_run, stack_of
from dibo.api.settings import current_settings
from dibo.build import build as spine
from dibo.cache import maintenance
from dibo.cache.verify import verify as verify_cache
from dibo.errors import UsageError, VerificationFailed
from dibo.images.reference import parse_repository
from dibo.settings.settings import Options, Settings
from dibo.system.report import Report, answer
from dibo.trust.policy import trust_of
from dibo.units import human_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What is to be removed from a repository, and whether it really is."""

    repository: str
    older_than: int | None
    """Days since a layer was used."""
    keep_stacks: tuple[str, ...]
    """Names of flavours, separated by commas: layers of these stacks stay."""
    yes: bool


def list_cache(reference: str, *, as_json: bool) -> str:
    """The layers with their sizes, ages and use, as text or as JSON."""
    now = datetime.now(tz=UTC)
    contents = maintenance.contents(parse_repository(reference), now=now)
    return _as_json(contents) if as_json else maintenance.describe(contents, now=now)


def _as_json(contents: maintenance.CacheContents) -> str:
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
    return json.dumps({"entries": entries, "damaged": broken, "size": contents.size}, indent=2)


def prune(options: Options, environment: Mapping[str, str], report: Report, wish: Pruning) -> None:
    """Remove layers, or say which would be removed. `options` say how the stacks that are kept are built."""
    repository = parse_repository(wish.repository)
    if wish.older_than is None and not wish.keep_stacks:
        raise UsageError(
            "expected what to remove: --older-than, --keep-stack, or both",
            hint="--older-than DAYS, --keep-stack FLAVOUR,FLAVOUR (all but that), or both",
        )
    now = datetime.now(tz=UTC)
    stacks = [replace(options, flavours=_names(stack)) for stack in wish.keep_stacks]
    kept_keys = {key for stack in stacks for key in _keys_of(stack, environment, report)}
    contents = maintenance.contents(repository, now=now)
    doomed = maintenance.doomed(contents, older_than=wish.older_than, kept=kept_keys, now=now)
    for entry in contents.entries:
        if entry.foreign:
            report.warn(f"{entry.key[:12]} stays: the tag {entry.foreign}, which is not dibo's, means it too")
    if not doomed:
        answer("nothing to remove")
        return
    removed = replace(contents, entries=doomed, broken=(), others=())
    answer(maintenance.describe(removed, now=now, total=False))
    answer(f"\n{len(doomed)} to remove; frees {human_size(maintenance.freed(contents, doomed))}")
    if not wish.yes:
        report.say("nothing was removed; --yes removes what is listed")
        return
    maintenance.remove(repository, doomed, removed=lambda entry: report.say(f"removed {entry.key[:12]}"))
    report.say("the registry frees the space when it collects garbage")


def _names(stack: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in stack.split(",") if name.strip())
    if not names:
        raise UsageError("--keep-stack expects names of flavours", hint="--keep-stack vm,my-flavour")
    return names


def _keys_of(options: Options, environment: Mapping[str, str], report: Report) -> tuple[str, ...]:
    """The keys of a stack as it is now."""
    settings = current_settings(options, environment)
    with new_run(settings) as (workspace, run):
        stack = stack_of(settings, run)
        job = spine.prepare(settings, stack, workspace=workspace, run=run, report=report, held={})
        return job.plan.keys


def verify(settings: Settings, report: Report, reference: str) -> str:
    """Read everything, and check every digest and signature. Raises VerificationFailed where something is wrong."""
    repository = parse_repository(reference)
    trust = trust_of(settings)
    count, faults = verify_cache(repository, trust, on_progress=report.line)
    if faults:
        raise VerificationFailed(f"{repository} has {len(faults)} faults", hint="\n".join(faults))
    signed = " and signed" if trust.verifies(repository) else ""
    return f"{count} layers, all whole{signed}"
