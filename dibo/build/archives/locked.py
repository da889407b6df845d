"""Packages that a lock says, in place of an archive."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dibo.build.archives.apt import Wish
from dibo.build.archives.resolver import ChainLink, parse_transaction, wish_names
from dibo.errors import ManifestError
from dibo.plan.keys import difference
from dibo.plan.lock import Lock, parse_lock


def read_lock(path: Path) -> Lock:
    """The lock in a file, or in the manifest that a file is. Raises ManifestError."""
    try:
        document = json.loads(path.read_text())
        if isinstance(document, dict) and "lock" in document:
            document = document["lock"]
        return parse_lock(document)
    except OSError as error:
        raise ManifestError(f"cannot read the lock {path}: {error.strerror}") from error
    except ValueError as error:
        raise ManifestError(f"{path} is no lock: {error}", hint="`dibo lock` writes one") from error


def require_base(path: Path, name: str, ingredients: Mapping[str, object]) -> None:
    """Raises ManifestError where a base is not that of a lock. `name` is its name and architecture."""
    lock = read_lock(path)
    known = lock.bases.get(name)
    if known is None and lock.bases:
        raise ManifestError(f"{path} has no base {name}", hint="`dibo lock` writes it anew")
    if known is not None and (lines := difference(dict(ingredients), dict(known))):
        raise ManifestError(
            f"the base {name} of {path} is gone: {'; '.join(lines)}",
            hint="name that base by its digest or its file, or write the lock anew: `dibo lock`",
        )


def locked(path: Path, wishes: Sequence[Wish], *, architecture: str) -> tuple[ChainLink, ...]:
    """What a lock says for each wish. Raises ManifestError where it has none of that wish."""
    lock = read_lock(path)
    links = []
    for name, wish in zip(wish_names(architecture, wishes), wishes, strict=True):
        if name not in lock.answers:
            words = " ".join(wish.words[-5:])
            raise ManifestError(
                f"{path} has no packages for {words!r} on what lies below: the flavours are others than then",
                hint="`dibo lock` writes it anew",
            )
        try:
            transaction = parse_transaction(lock.answers[name])
        except ValueError as error:
            raise ManifestError(f"{path} is damaged: {error}") from error
        links.append(ChainLink(name=name, wish=name, words=wish.words, transaction=transaction))
    return tuple(links)
