"""Where the layers in an engine's store came from: built here, or taken from a cache, and whose signature it had.

    ~/.cache/dibo/keys/KEY.origin    {"identity": …, "taken": null | {"repository": …, "signed-by": …}}

`identity` is what the engine knows the image by, a digest of its config, and so of its layers: a note about another
image with the same key says nothing. A layer that was built here on one that was taken counts as taken: it holds what
is below it. Where signatures are asked for, a layer counts if its note says so; what has none is not used.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dibo.errors import DiboError
from dibo.images.reference import parse_repository

if TYPE_CHECKING:
    from dibo.trust.policy import Policy


class KnowsImages(Protocol):
    """The part of an engine that is needed here."""

    def identities(self, keys: Collection[str]) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A layer came from the cache `repository`, with a signature that was verified by the key with this fingerprint;
    empty, where none was asked for."""

    repository: str
    signed_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    identity: str
    taken: Taken | None


class LayerOrigins:
    """Notes in a directory, held to a policy; without one, every layer counts."""

    def __init__(self, directory: Path, policy: Policy | None = None) -> None:
        self._directory = directory
        self._policy = policy

    def save_taken(self, engine: KnowsImages, key: str, taken: Taken) -> None:
        """Note that a cache gave the layer that the engine now has as `key`."""
        self._save(key, _identities(engine, [key]).get(key, ""), taken)

    def save_built(self, engine: KnowsImages, key: str, *, parent: str | None) -> None:
        """Note that the layer that the engine now has as `key` was built here, on `parent`; None for a base."""
        identities = _identities(engine, [key] if parent is None else [key, parent])
        taken = None
        if parent is not None:
            below = self._load(parent)
            if below is None or identities.get(parent, "") != below.identity:
                return  # nobody knows where that came from, so nobody knows it of this one
            taken = below.taken
        self._save(key, identities.get(key, ""), taken)

    def distrusted(self, engine: KnowsImages, keys: Collection[str]) -> dict[str, str]:
        """Those of the layers in the engine's store that do not count, and why, for people."""
        if self._policy is None or self._policy.open or not keys:
            return {}
        identities = engine.identities(keys)
        reasons = {key: self._reason(key, identities.get(key, ""), self._policy) for key in keys}
        return {
            key: f"the engine's store has it, and it is not used: {reason}"
            for key, reason in reasons.items()
            if reason
        }

    def _reason(self, key: str, identity: str, policy: Policy) -> str:
        note = self._load(key)
        if note is None or note.identity != identity:
            return "nothing says whether it was built here"
        if note.taken is None:
            return ""
        try:
            rule = policy.rule(parse_repository(note.taken.repository))
        except DiboError:
            return "nothing says whether it was built here"
        if rule.open or any(key.fingerprint() == note.taken.signed_by for key in rule.keys):
            return ""
        how = "signed by another key than those that count" if note.taken.signed_by else "without a signature"
        return f"it came from {note.taken.repository}, {how}"

    def _save(self, key: str, identity: str, taken: Taken | None) -> None:
        """A full disk is no reason to fail: the layer does not count then where signatures are asked for."""
        if not identity:
            return
        document = {
            "identity": identity,
            "taken": None
            if taken is None
            else {"repository": taken.repository, "signed-by": taken.signed_by},
        }
        with contextlib.suppress(OSError):
            self._path(key).write_text(json.dumps(document))

    def _load(self, key: str) -> _Note | None:
        try:
            document = json.loads(self._path(key).read_bytes())
            taken = document["taken"]
            if taken is not None:
                taken = Taken(repository=str(taken["repository"]), signed_by=str(taken["signed-by"]))
            return _Note(identity=str(document["identity"]), taken=taken)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}.origin"


def _identities(engine: KnowsImages, keys: Collection[str]) -> Mapping[str, str]:
    """None where the engine does not say them: a build does without notes."""
    try:
        return engine.identities(keys)
    except DiboError:
        return {}
