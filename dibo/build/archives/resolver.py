"""What apt would install for a base and for each list of packages on it, without the base.

The lists form a chain: each is resolved given what those before it install. A link is known by the state of the
archives and by all wishes up to its own, and so is its answer, which is kept:

    archives/resolved/ID.json      the link's packages, and what it removes
    archives/last/ID.json          the same of the last state of the archives, by the wishes alone
    archives/lists/ID/…            apt's lists of the archives, which it has verified

Only what is not kept is asked of apt. What hooks install between two lists is not known here, and need not be: a list
that is resolved without it names more packages than are missing, never fewer.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dibo.build.archives.apt import Apt, Transaction, Wish
from dibo.build.archives.archive import ArchiveState, PackageArchive, digest
from dibo.build.archives.package_files import link_or_copy
from dibo.build.archives.root_packages import RootPackages
from dibo.build.archives.states import ArchiveStates
from dibo.errors import BaseError, ToolMissing, Unreachable, VerificationFailed
from dibo.plan.base import ResolutionStore
from dibo.plan.keys import canonical
from dibo.plan.packages import ChosenPackages, parse_package, same_versions_differ
from dibo.system.exclusive import exclusive
from dibo.system.report import Report

_FORMAT: Final = 1
_PLAIN: Final = re.compile(r"[A-Za-z0-9._/+-]+")
_UNUSED_SECONDS: Final = 31 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLink:
    """One wish of a chain, resolved."""

    name: str
    """64 hexadecimal digits: the state of the archives and all wishes up to this one."""
    wish: str
    """The same of the wishes alone."""
    words: tuple[str, ...]
    transaction: Transaction

    @property
    def answer(self) -> ChosenPackages:
        return ChosenPackages(name=self.name, wish=self.wish, words=self.words, text=self.text)

    @property
    def text(self) -> str:
        """As it is kept."""
        return canonical(
            {
                "packages": [package.document() for package in self.transaction.packages],
                "removed": list(self.transaction.removed),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Resolves wishes by the state of `archives`. `directory` is that of archives in the cache. Where the base is a
    root that is there, `root` is what it says to apt, and `root_name` is the digest of the base."""

    archives: tuple[PackageArchive, ...]
    architecture: str
    keyring: Path
    default_keyring: Path
    directory: Path
    states: ArchiveStates
    report: Report
    offline: bool = False
    root: RootPackages | None = None
    root_name: str = ""
    make_apt: Callable[..., Apt] = field(default=Apt)

    def resolve(self, wishes: Sequence[Wish], store: ResolutionStore) -> tuple[ChainLink, ...]:
        """A link for each wish. Raises Unreachable, BaseError, ToolMissing, VerificationFailed for a package whose
        file is another one now than before, under the same version."""
        if not wishes:
            return ()
        state = self.states.current(self.archives)
        links = self._known(self._names(state, wishes), wishes, store)
        if len(links) == len(wishes):
            return links
        with exclusive(self.directory / "locks", "apt", on_wait=self._tell):
            return self._ask(wishes, store)

    def write_lists(self, target: Path) -> None:
        """Have apt's lists of now in `target`, which is made; nothing where the archives cannot be read."""
        with (
            exclusive(self.directory / "locks", "apt", on_wait=self._tell),
            tempfile.TemporaryDirectory(prefix="dibo-apt-", dir=_plain_directory()) as scratch,
            contextlib.suppress(BaseError, ToolMissing, Unreachable),
        ):
            apt = self._apt(scratch)
            if self.states.current(self.archives).digests != apt.digests:
                self._update(apt)
            target.mkdir()
            for path in apt.list_files():
                link_or_copy(path, target / path.name)

    def _tell(self, holder: str) -> None:
        self.report.say(f"choosing packages: waiting for {holder}")

    def _known(
        self, names: Sequence[str], wishes: Sequence[Wish], store: ResolutionStore
    ) -> tuple[ChainLink, ...]:
        """The links from the first on that are known."""
        links = []
        store.expect([name for name in names if not self._path("resolved", name).exists()])
        of_wishes = self._wish_names(wishes)
        for name, wish_name, wish in zip(names, of_wishes, wishes, strict=True):
            transaction = self._load("resolved", name)
            if transaction is None and (text := store.load(name)) is not None:
                with contextlib.suppress(ValueError):
                    transaction = parse_transaction(text)
                    self._save("resolved", name, text)
            if transaction is None:
                break
            links.append(ChainLink(name=name, wish=wish_name, words=wish.words, transaction=transaction))
        return tuple(links)

    def _ask(self, wishes: Sequence[Wish], store: ResolutionStore) -> tuple[ChainLink, ...]:
        with (
            tempfile.TemporaryDirectory(prefix="dibo-apt-", dir=_plain_directory()) as scratch,
            self.report.task("choosing packages"),
        ):
            apt = self._apt(scratch)
            state = self.states.current(self.archives) if self.offline else self._update(apt)
            names = self._names(state, wishes)
            links = list(self._known(names, wishes, store))
            installed = [dict(stanza) for stanza in self.root.installed] if self.root is not None else []
            for link in links:
                installed = _after(installed, link.transaction, apt)
            missing = list(zip(names, self._wish_names(wishes), wishes, strict=True))
            for name, wish_name, wish in missing[len(links) :]:
                transaction = apt.resolve(wish, installed)
                link = ChainLink(name=name, wish=wish_name, words=wish.words, transaction=transaction)
                links.append(link)
                installed = _after(installed, link.transaction, apt)
        self._require_same_files(links)
        self._forget_old()
        for link in links:
            self._save("resolved", link.name, link.text)
            self._save("last", link.wish, link.text)
        return tuple(links)

    def _apt(self, scratch: str) -> Apt:
        lists = self.directory / "lists" / digest(canonical(self._place()).encode())[:16]
        with contextlib.suppress(OSError):
            os.utime(lists)  # used now
        return self.make_apt(
            Path(scratch),
            self.archives,
            lists=lists,
            architecture=self.architecture,
            keyring=self.keyring,
            root=self.root,
        )

    def _update(self, apt: Apt) -> ArchiveState:
        """Have the lists of now. Raises BaseError."""
        digests = map(self.states.note, self.archives, apt.update())
        return ArchiveState(archives=self.archives, digests=tuple(digests))

    def _require_same_files(self, links: Sequence[ChainLink]) -> None:
        """Raises VerificationFailed where a package that was chosen before is another file now."""
        for link in links:
            before = self._load("last", link.wish)
            changed = same_versions_differ(before.packages if before else (), link.transaction.packages)
            if changed:
                raise VerificationFailed(
                    f"the archive has other files than before under the same versions: {', '.join(changed[:5])}",
                    hint="a signed archive never does that by itself: ask who runs it. To accept the new files, remove "
                    f"{self._path('last', link.wish)}",
                )

    def _place(self) -> dict[str, object]:
        """What lists of apt are fetched for."""
        return {
            "architecture": self.architecture,
            "archives": [
                [
                    archive.address,
                    archive.suite,
                    *archive.components,
                    *archive.keyrings,
                    *archive.architectures,
                ]
                for archive in self.archives
            ],
            "foreign": list(self.root.foreign) if self.root is not None else [],
        }

    def _wish_names(self, wishes: Sequence[Wish]) -> tuple[str, ...]:
        return wish_names(self.architecture, wishes, root_name=self.root_name)

    def _names(self, state: ArchiveState, wishes: Sequence[Wish]) -> tuple[str, ...]:
        """The name of each link."""
        own = self.root is not None or self.keyring == self.default_keyring
        keyring = "" if own else digest(self.keyring.read_bytes())
        document = {"archives": state.document(), "keyring": keyring}
        return _chained({**_of_all(self.architecture, self.root_name), **document}, wishes)

    def _forget_old(self) -> None:
        """Remove what was not asked for in a month: answers, what roots say, lists of archives."""
        for kind in ("resolved", "roots", "lists"):
            with contextlib.suppress(OSError):
                for path in (self.directory / kind).iterdir():
                    if path.stat().st_mtime >= time.time() - _UNUSED_SECONDS:
                        continue
                    if path.is_dir():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink(missing_ok=True)

    def _path(self, kind: str, name: str) -> Path:
        return self.directory / kind / f"{name}.json"

    def _load(self, kind: str, name: str) -> Transaction | None:
        path = self._path(kind, name)
        try:
            transaction = parse_transaction(path.read_text())
            os.utime(path)
        except (OSError, ValueError):
            return None
        return transaction

    def _save(self, kind: str, name: str, text: str) -> None:
        path = self._path(kind, name)
        part = path.with_suffix(f".{os.getpid()}.part")
        with contextlib.suppress(OSError):  # a full disk costs the next command a question
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text)
            part.replace(path)


def _plain_directory() -> str | None:
    """Where temporary files go that sources of apt name, which cannot have blanks and brackets; None: as ever."""
    return None if _PLAIN.fullmatch(tempfile.gettempdir()) else "/tmp"  # noqa: S108 - a directory is made in it


def wish_names(architecture: str, wishes: Sequence[Wish], *, root_name: str = "") -> tuple[str, ...]:
    """The name of each wish of a chain, whatever the state of archives: 64 hexadecimal digits."""
    return _chained(_of_all(architecture, root_name), wishes)


def _of_all(architecture: str, root_name: str) -> dict[str, object]:
    return {"format": _FORMAT, "architecture": architecture, **({"root": root_name} if root_name else {})}


def _chained(document: Mapping[str, object], wishes: Sequence[Wish]) -> tuple[str, ...]:
    names = []
    below = digest(canonical(document).encode())
    for wish in wishes:
        words = {"below": below, "words": list(wish.words), "recommends": wish.recommends}
        below = digest(canonical(words).encode())
        names.append(below)
    return tuple(names)


def parse_transaction(text: str) -> Transaction:
    """What `ChainLink.text` says. Raises ValueError."""
    try:
        document = json.loads(text)
        return Transaction(
            packages=tuple(parse_package(package) for package in document["packages"]),
            removed=tuple(str(name) for name in document["removed"]),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"expected packages and what they remove: {error}") from error


def _after(installed: list[dict[str, str]], transaction: Transaction, apt: Apt) -> list[dict[str, str]]:
    """What is installed after a transaction, as stanzas."""
    gone = {apt.slot(package.name, package.architecture) for package in transaction.packages}
    gone |= set(transaction.removed)
    return [
        *(s for s in installed if apt.slot(s["Package"], s["Architecture"]) not in gone),
        *apt.stanzas(transaction.packages),
    ]
