"""Why layers are missing: which ingredient of each differs from the most alike layer that is kept.

A key is the digest of named ingredients (dibo.plan.keys), and these are kept with the layer. Alike are layers
of the same
phase, flavour and hooks; the most alike differs in the fewest ingredients.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dibo.plan.keys import Document, difference
from dibo.plan.packages import security_of
from dibo.plan.plan import Plan, said_once
from dibo.units import counted

_MOST_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A layer that is missing. `nearest` is the key of the most alike one that is kept, if there is any; `lines` say
    what differs, apart from the layer below."""

    key: str
    title: str
    nearest: str | None
    lines: tuple[str, ...]
    below: bool
    """Whether the layer below is another one, too."""


def explain(plan: Plan, kept: Mapping[str, Document]) -> tuple[Reason, ...]:
    """A reason for every layer that is missing, the lowest first. `kept` has the ingredients of kept layers by key."""
    missing = [] if plan.base_held else [(plan.base_key, f"base {plan.base_name}", plan.base_ingredients)]
    missing += [(planned.key, planned.step.title, planned.ingredients) for planned in plan.to_run]
    by_kind: dict[object, list[tuple[str, Document]]] = {}
    for key, document in kept.items():
        by_kind.setdefault(_kind(document), []).append((key, document))
    security = security_of(plan.packages)
    return tuple(_reason(key, title, json.loads(text), by_kind, security) for key, title, text in missing)


def _reason(
    key: str,
    title: str,
    missing: Document,
    by_kind: Mapping[object, list[tuple[str, Document]]],
    security: frozenset[tuple[str, str]],
) -> Reason:
    best: tuple[str, tuple[str, ...], bool] | None = None
    for other_key, document in by_kind.get(_kind(missing), ()):
        lines = difference(_own(missing), _own(document), security=security)
        below = missing.get("parent") != document.get("parent")
        if other_key != key and (best is None or (len(lines), below) < (len(best[1]), best[2])):
            best = (other_key, lines, below)
    if best is None:
        return Reason(key=key, title=title, nearest=None, lines=(), below=False)
    return Reason(key=key, title=title, nearest=best[0], lines=best[1], below=best[2])


def _own(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "parent"}


def _kind(document: Document) -> object:
    """What makes two layers comparable."""
    if "base" in document:
        base = document["base"]
        return ("base", base.get("kind") if isinstance(base, dict) else None)
    hooks = document.get("hooks")
    names = tuple(str(hook[0]) for hook in hooks if isinstance(hook, list)) if isinstance(hooks, list) else ()
    return (document.get("phase"), document.get("flavour"), bool(document.get("packages")), names)


def describe(
    plan: Plan,
    reasons: Sequence[Reason],
    *,
    place_of: Callable[[str], str],
    refused: Mapping[str, str] | None = None,
    only_here: int = 0,
) -> str:
    """For people. `place_of` says in which place a kept layer is, `refused` why one that a registry has is not used,
    `only_here` how many layers the engine's store has and no registry."""
    if not reasons:
        here = f"; only in the engine's store: {only_here}" if only_here else ""
        return f"nothing is missing: all {len(plan.keys)} layers are kept{here}"
    lines = []
    for reason in reasons:
        lines.append(f"{reason.key[:12]}  {reason.title}")
        if refused and reason.key in refused:
            lines.append(f"    {said_once(refused[reason.key], lines)}")
            continue
        lines += [f"    {line}" for line in _reason_lines(reason, place_of)]
    kept = len(plan.keys) - len(reasons)
    return "\n".join(
        [*lines, "", f"{counted(len(plan.keys), 'layer')}: {kept} cached, {len(reasons)} to build"]
    )


def _reason_lines(reason: Reason, place_of: Callable[[str], str]) -> Iterable[str]:
    if reason.nearest is None:
        yield "no layer like it is kept"
        return
    yield f"most alike: {reason.nearest[:12]} {place_of(reason.nearest)}"
    yield from reason.lines[:_MOST_LINES]
    if len(reason.lines) > _MOST_LINES:
        yield f"and {len(reason.lines) - _MOST_LINES} more"
    if reason.below:
        yield "the layer below is another one" if reason.lines else "only the layer below is another one"
