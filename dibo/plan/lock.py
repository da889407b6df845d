"""What a lock holds: bases, the packages that were chosen for each wish, the files that flavours have fetched, and the
epoch of what hooks fetch by themselves.

A lock is of one image, where it is in a manifest, or of several. With it, a build installs these packages, whatever the
archive has meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dibo.plan.keys import canonical, difference
from dibo.plan.packages import (
    ArchivePackage,
    ChosenPackages,
    identities,
    package_changes,
    parse_package,
    security_of,
)

FORMAT: Final = 1
LOCK_FILE: Final = "dibo.lock"
"""Where locks are, in the current directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedBase:
    """A base by its name and architecture, and what tells it from every other."""

    name: str
    ingredients: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile:
    """A file that a flavour has fetched. `sha256` is hexadecimal, `size` in bytes, 0 if unknown."""

    sha256: str
    urls: tuple[str, ...]
    size: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """`answers` are texts of `ChosenPackages`, and `titles` the last words of what was asked, by the names of wishes.
    `snapshots` are addresses where the files of packages stay."""

    epoch: str
    answers: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    bases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Ingredients, by name and architecture."""
    snapshots: tuple[str, ...] = ()
    fetched: Mapping[str, LockedFile] | None = None
    """By `file_name`; None in a manifest, and in locks of earlier versions."""

    @property
    def packages(self) -> dict[str, tuple[ArchivePackage, ...]]:
        """Of each wish. Raises ValueError for a damaged lock."""
        return {
            wish: tuple(map(parse_package, json.loads(text)["packages"] or ()))
            for wish, text in self.answers.items()
        }


def file_name(flavour: str, name: str, architecture: str) -> str:
    """What a lock calls a file that is fetched."""
    return f"{flavour}/{name} {architecture}"


def lock_document(
    answers: Iterable[ChosenPackages],
    *,
    epoch: str,
    bases: Sequence[LockedBase] = (),
    snapshots: Sequence[str] = (),
    fetched: Mapping[str, LockedFile] | None = None,
) -> dict[str, Any]:
    """A lock as JSON has it. In a manifest, bases, snapshots and files are missing."""
    chosen = {
        answer.wish: {"words": list(answer.words), **json.loads(answer.text)}
        for answer in sorted(answers, key=lambda answer: answer.wish)
    }
    document: dict[str, Any] = {"format": FORMAT, "epoch": epoch, "chosen": chosen}
    if bases:
        document["bases"] = {base.name: dict(base.ingredients) for base in bases}
    if fetched is not None:
        document["fetched"] = {
            name: {"sha256": file.sha256, "size": file.size, "urls": list(file.urls)}
            for name, file in fetched.items()
        }
    return document | ({"snapshots": list(snapshots)} if snapshots else {})


def parse_lock(document: object) -> Lock:
    """Raises ValueError for what is no lock."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"expected a lock of format {FORMAT}")
    epoch, snapshots = document.get("epoch"), document.get("snapshots", [])
    chosen, bases = _mappings(document.get("chosen")), _mappings(document.get("bases", {}))
    if not (isinstance(epoch, str) and isinstance(snapshots, list)):
        raise ValueError("expected a lock with an epoch, and a list of snapshots")  # noqa: TRY004 (of a document)
    names = ("packages", "removed")
    return Lock(
        epoch=epoch,
        answers={
            wish: canonical({name: answer.get(name) for name in names}) for wish, answer in chosen.items()
        },
        titles={wish: _title(answer.get("words")) for wish, answer in chosen.items()},
        bases={name: {key: str(value) for key, value in base.items()} for name, base in bases.items()},
        snapshots=tuple(map(str, snapshots)),
        fetched=_files(document["fetched"]) if "fetched" in document else None,
    )


def _files(value: object) -> dict[str, LockedFile]:
    files = {}
    for name, entry in _mappings(value).items():
        sha256, urls, size = (entry.get(key) for key in ("sha256", "urls", "size"))
        if not (isinstance(sha256, str) and isinstance(urls, list) and isinstance(size, int)):
            raise ValueError("expected fetched files with sha256, urls and size")  # noqa: TRY004 (of a document)
        files[name] = LockedFile(sha256=sha256, urls=tuple(map(str, urls)), size=size)
    return files


def file_changes(
    now: Mapping[str, LockedFile], before: Mapping[str, LockedFile]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(name, lines) of all files that differ."""
    changes: list[tuple[str, tuple[str, ...]]] = []
    for name in sorted(now.keys() | before.keys()):
        new, old = now.get(name), before.get(name)
        if new is None or old is None:
            changes.append((name, ("is new" if old is None else "is gone",)))
        elif new != old:
            columns = (("sha256", old.sha256, new.sha256), ("url", " ".join(old.urls), " ".join(new.urls)))
            lines = tuple(f"{title} {was} → {becomes}" for title, was, becomes in columns if was != becomes)
            changes.append((name, lines))
    return tuple(changes)


def _mappings(value: object) -> dict[str, dict[str, Any]]:
    """Raises ValueError for anything but a mapping of mappings."""
    if isinstance(value, dict) and all(isinstance(entry, dict) for entry in value.values()):
        return {str(name): entry for name, entry in value.items()}
    raise ValueError("expected a lock with a mapping for each wish and each base")


def _title(words: object) -> str:
    """What a wish is called, for people; that of a base has patterns of apt in it."""
    texts = [str(word) for word in words] if isinstance(words, list) else []
    return "the base" if any(word.startswith("?") for word in texts) else " ".join(texts)


def moved_packages(now: Lock, before: Lock) -> dict[str, tuple[tuple[ArchivePackage, str], ...]]:
    """By wish, packages that have another version now, each with the version that it had. Raises ValueError for a
    damaged lock."""
    moved: dict[str, tuple[tuple[ArchivePackage, str], ...]] = {}
    for wish, packages in now.packages.items():
        known = {(p.name, p.architecture): p.version for p in before.packages.get(wish, ())}
        pairs = ((p, known.get((p.name, p.architecture), p.version)) for p in packages)
        moved[wish] = tuple((package, version) for package, version in pairs if version != package.version)
    return {wish: pairs for wish, pairs in moved.items() if pairs}


def lock_changes(now: Lock, before: Lock) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(title, lines) of all that differs. Raises ValueError for a damaged lock."""
    changes: list[tuple[str, tuple[str, ...]]] = []
    if now.epoch != before.epoch:
        changes.append(("epoch", (f"{before.epoch} → {now.epoch}",)))
    for name in sorted(now.bases.keys() | before.bases.keys()):
        if name not in before.bases or name not in now.bases:
            changes.append((f"base {name}", ("is new" if name in now.bases else "is gone",)))
        elif lines := difference(dict(now.bases[name]), dict(before.bases[name])):
            changes.append((f"base {name}", lines))
    changes += [
        (f"fetched {name}", lines) for name, lines in file_changes(now.fetched or {}, before.fetched or {})
    ]
    packages, old = now.packages, before.packages
    titles = {**before.titles, **now.titles}
    for wish in sorted(
        packages.keys() | old.keys(), key=lambda wish: (titles[wish] != "the base", titles[wish], wish)
    ):
        security = security_of(packages.get(wish, ()))
        new, known = identities(packages.get(wish, ())), identities(old.get(wish, ()))
        if wish not in old or wish not in packages:
            changes.append((titles[wish], ("is new" if wish in packages else "is gone",)))
        elif lines := tuple(package_changes(new, known, security)):
            changes.append((titles[wish], lines))
    return tuple(changes)
