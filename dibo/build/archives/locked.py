"""What a lock says: packages in place of an archive, bases, files that flavours have fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dibo.build.archives.apt import Wish
from dibo.build.archives.resolver import ChainLink, parse_transaction, wish_names
from dibo.errors import ManifestError
from dibo.flavours.stack import Stack
from dibo.plan.keys import difference
from dibo.plan.lock import Lock, LockedFile, file_changes, file_name, parse_lock


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


def locked_files(stack: Stack, architecture: str) -> dict[str, LockedFile]:
    """The files that the flavours of a stack list for an architecture, as a lock has them."""
    return {
        file_name(flavour.name, file.name, architecture): LockedFile(sha256=file.sha256, urls=file.urls)
        for flavour in stack.flavours
        for file in flavour.fetched_for(architecture)
    }


def require_files(path: Path, stack: Stack, architecture: str) -> None:
    """Raises ManifestError where the flavours of a stack list other files than a lock has of them. Where they are does
    not matter."""
    lock = read_lock(path)
    if lock.fetched is None:
        return
    listed = locked_files(stack, architecture)
    known = {
        name: file
        for name, file in lock.fetched.items()
        if name.endswith(f" {architecture}") and name.partition("/")[0] in stack.names
    }
    same = {name for name in listed.keys() & known.keys() if listed[name].sha256 == known[name].sha256}
    changes = file_changes(
        {name: file for name, file in listed.items() if name not in same},
        {name: file for name, file in known.items() if name not in same},
    )
    if changes:
        moved = "; ".join(f"{name} {', '.join(lines)}" for name, lines in changes)
        raise ManifestError(
            f"{path} has other files than the flavours have fetched: {moved}",
            hint="`dibo lock` writes it anew",
        )


def locked(
    path: Path, wishes: Sequence[Wish], *, architecture: str, root_name: str = ""
) -> tuple[ChainLink, ...]:
    """What a lock says for each wish, on a base that is built, or on the root of that name. Raises ManifestError where
    it has none of that wish."""
    lock = read_lock(path)
    links = []
    for name, wish in zip(wish_names(architecture, wishes, root_name=root_name), wishes, strict=True):
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
