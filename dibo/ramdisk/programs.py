"""Programs by name, and all that they need to run.

A name is looked up as a shell in the root would, in the directories of PATH. What is found is followed: a script to
its interpreter, an ELF file to its loader and libraries, as ld.so(8) finds them, but in the root's directories and
with nothing executed. DT_RPATH counts for what a library needs in turn, DT_RUNPATH does not, hwcaps are ignored: the
plain library runs everywhere.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dibo.errors import RamdiskError
from dibo.flavours.ramdisk_requests import RequestedName
from dibo.ramdisk.elf import MAGIC, Elf, read_elf
from dibo.ramdisk.selection import ResolvedPath, Selection, children, files_below, resolve
from dibo.tree.node import Node

PATH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_MULTIARCH: Final = {
    "EM_X86_64": "x86_64-linux-gnu",
    "EM_AARCH64": "aarch64-linux-gnu",
    "EM_386": "i386-linux-gnu",
    "EM_ARM": "arm-linux-gnueabihf",
    "EM_RISCV": "riscv64-linux-gnu",
    "EM_PPC64": "powerpc64le-linux-gnu",
    "EM_S390": "s390x-linux-gnu",
}
_RESOLVER: Final = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")
"""Before glibc 2.34 modules of their own, since then part of libc itself, and so perhaps not there."""
_UNWINDER: Final = "libgcc_s.so.1"
_SHEBANG: Final = re.compile(rb"#![ \t]*([^ \t\r\n\0]+)[ \t]*([^\r\n\0]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asker:
    """The file that needs another one, for messages and for rpaths."""

    word: RequestedName
    path: str
    rpaths: tuple[str, ...] = ()
    """Of the programs and libraries above that have no DT_RUNPATH."""


class ProgramSelector:
    """Selects programs and everything they need to run. `applets` are the names that busybox provides."""

    def __init__(self, selection: Selection, *, applets: Iterable[str] = ()) -> None:
        self._selection = selection
        self._applets = frozenset(applets)
        self._done: set[str] = set()
        self._conf: tuple[str, ...] | None = None
        self._elves: dict[Node, Elf | None] = {}
        self.resolves = False
        """Whether anything looks up names."""

    def take(self, word: RequestedName) -> None:
        """Pick what a flavour names: a program, a path, a library (`libkmod.so.2`). Raises RamdiskError."""
        root = self._selection.root
        if word.text.startswith("/"):
            path = word.text if resolve(root, word.text) else None
            if path is not None and self._take_directory(path, word):
                return
        elif ".so" in word.text and not self.find(word.text):
            path = self._library_of_any_kind(word.text)
        else:
            path = self.find(word.text)
        if path is not None:
            self.take_path(path, word)
        elif word.text not in self._applets:
            raise RamdiskError(
                f"{word.origin} names {word.text}, which is not in the root{self._who_has(word.text)}",
                hint="name its package under `packages` in flavour.yaml, or install it in a hook of install.d",
            )

    def _take_directory(self, path: str, word: RequestedName) -> bool:
        resolved = resolve(self._selection.root, path)
        if resolved is None or resolved.node.children is None:
            return False
        self._selection.take_all(path)
        for below in files_below(self._selection.root, resolved.path):
            if resolve(self._selection.root, below) is not None:
                self.take_path(below, word)
        return True

    def find(self, name: str) -> str | None:
        """Where a shell in the root would find a program."""
        for directory in PATH:
            resolved = resolve(self._selection.root, f"{directory}/{name}")
            if resolved is not None and stat.S_ISREG(resolved.node.mode) and resolved.node.mode & 0o111:
                return f"{directory}/{name}"
        return None

    def take_path(self, path: str, word: RequestedName) -> None:
        """Pick the file at a path of the root, and what it needs."""
        self._take(path, _Asker(word=word, path=path))

    def _take(self, path: str, asker: _Asker) -> None:
        resolved = self._selection.take(path)
        assert resolved is not None
        if resolved.path in self._done or not stat.S_ISREG(resolved.node.mode):
            return
        self._done.add(resolved.path)
        self._follow(resolved, asker)

    def take_needs(self, resolved: ResolvedPath, word: RequestedName) -> None:
        """Pick what a file needs that is not of the root."""
        self._follow(resolved, _Asker(word=word, path=resolved.path))

    def _follow(self, resolved: ResolvedPath, asker: _Asker) -> None:
        try:
            elf = self._elf(resolved.node)
        except ValueError as error:
            raise RamdiskError(
                f"{resolved.path}, which {asker.word.origin} needs, is damaged: {error}"
            ) from error
        if elf is not None:
            self._needs_of_elf(elf, resolved, asker)
        elif (shebang := _SHEBANG.match(self._selection.read(resolved.node))) is not None:
            self._needs_of_script(shebang, resolved, asker)

    def _elf(self, node: Node) -> Elf | None:
        """What an ELF file needs; None for another file. Raises ValueError."""
        if node not in self._elves:
            data = self._selection.read(node)
            self._elves[node] = read_elf(data) if data.startswith(MAGIC) else None
        return self._elves[node]

    def _needs_of_script(self, shebang: re.Match[bytes], resolved: ResolvedPath, asker: _Asker) -> None:
        interpreter = shebang[1].decode(errors="surrogateescape")
        words = shebang[2].decode(errors="surrogateescape").split()
        name = posixpath.basename(interpreter)
        if name == "env":
            rest = [word for word in words if word != "-S" and "=" not in word]
            name, interpreter = (rest[0], "") if rest else (name, interpreter)
        if name in self._applets:
            return
        path = interpreter if interpreter and resolve(self._selection.root, interpreter) else self.find(name)
        if path is None:
            raise RamdiskError(
                f"{resolved.path}, which {asker.word.origin} names, is a script for {name}, which is not in the root"
                f"{self._who_has(name)}",
                hint=f"install {name} in the root",
            )
        self._take(path, _Asker(word=asker.word, path=resolved.path))

    def _needs_of_elf(self, elf: Elf, resolved: ResolvedPath, asker: _Asker) -> None:
        if elf.interpreter is not None:
            if resolve(self._selection.root, elf.interpreter) is None:
                raise self._missing(elf.interpreter, resolved, asker)
            self._take(elf.interpreter, _Asker(word=asker.word, path=resolved.path))
        rpaths = asker.rpaths if elf.runpath else (*_expand(elf.rpath, resolved, elf), *asker.rpaths)
        directories = (*(() if elf.runpath else rpaths), *_expand(elf.runpath, resolved, elf))
        below = _Asker(word=asker.word, path=resolved.path, rpaths=() if elf.runpath else rpaths)
        needed = list(elf.needed)
        optional: list[str] = []
        is_libc = posixpath.basename(resolved.path).startswith(("libc.so", "libc-", "ld-"))
        if elf.resolves and not is_libc:
            self.resolves = True
            optional += _RESOLVER
        if elf.unwinds and not is_libc:
            optional.append(_UNWINDER)
        for name in needed:
            path = self._library(name, elf, directories)
            if path is None:
                raise self._missing(name, resolved, asker)
            self._take_library(name, path, below, elf, directories)
        for name in optional:
            path = self._library(name, elf, directories)
            if path is not None:
                self._take_library(name, path, below, elf, directories)

    def _take_library(
        self, name: str, path: str, asker: _Asker, elf: Elf, directories: Sequence[str]
    ) -> None:
        """There is no ld.so.cache in a ramdisk: what lies where only the cache knows gets a link where ld.so looks."""
        self._take(path, asker)
        directory = posixpath.dirname(path)
        defaults = _defaults(elf)
        if directory not in (*directories, *defaults) and "/" not in name:
            target = next((path for path in defaults if self._selection.has(path)), defaults[-1])
            if not self._selection.has(f"{target}/{name}"):
                self._selection.link(f"{target}/{name}", path)

    def _library(self, name: str, elf: Elf, directories: Sequence[str]) -> str | None:
        if "/" in name:
            return name if resolve(self._selection.root, name) else None
        for directory in (*directories, *_defaults(elf), *self._configured()):
            resolved = resolve(self._selection.root, f"{directory}/{name}")
            if resolved is not None and stat.S_ISREG(resolved.node.mode) and self._fits(resolved.node, elf):
                return f"{directory}/{name}"
        return None

    def _library_of_any_kind(self, name: str) -> str | None:
        for directory in (*(d for m in _MULTIARCH.values() for d in _places(m, 64)), *self._configured()):
            if resolve(self._selection.root, f"{directory}/{name}") is not None:
                return f"{directory}/{name}"
        return None

    def _fits(self, node: Node, elf: Elf) -> bool:
        """Whether a library is for the same kind of machine."""
        try:
            library = self._elf(node)
        except ValueError:
            return True  # reported when it is followed
        return library is not None and library.kind == elf.kind

    def _configured(self) -> tuple[str, ...]:
        """The directories of ld.so.conf(5)."""
        if self._conf is None:
            self._conf = tuple(self._read_conf("/etc/ld.so.conf", 0))
        return self._conf

    def _read_conf(self, path: str, depth: int) -> list[str]:
        resolved = resolve(self._selection.root, path)
        if resolved is None or not stat.S_ISREG(resolved.node.mode) or depth > 8:
            return []
        directories = []
        for line in self._selection.read(resolved.node).decode(errors="surrogateescape").splitlines():
            words = line.partition("#")[0].split()
            if words[:1] == ["include"]:
                for pattern in words[1:]:
                    directory, _, pattern = posixpath.join(posixpath.dirname(path), pattern).rpartition("/")
                    for name in children(self._selection.root, directory):
                        if fnmatch.fnmatchcase(name, pattern):
                            directories += self._read_conf(f"{directory}/{name}", depth + 1)
            elif words[:1] != ["hwcap"]:
                directories += words
        return directories

    def _missing(self, name: str, resolved: ResolvedPath, asker: _Asker) -> RamdiskError:
        via = f" (for {asker.word.text})" if posixpath.basename(resolved.path) != asker.word.text else ""
        return RamdiskError(
            f"{asker.word.origin} names {asker.word.text}; {resolved.path}{via} needs {name}, which is not in the "
            f"root{self._who_has(name)}",
            hint="install the package that contains it",
        )

    def _who_has(self, name: str) -> str:
        """What dpkg's lists say of a file that is not where it was looked for."""
        root, directory, packages = self._selection.root, "/var/lib/dpkg/info", []
        ending = f"/{posixpath.basename(name)}".encode()
        for file in children(root, directory):
            if file.endswith(".list"):
                resolved = resolve(root, f"{directory}/{file}")
                assert resolved is not None
                paths = self._selection.read(resolved.node).splitlines()
                packages += [
                    (file.removesuffix(".list"), path.decode()) for path in paths if path.endswith(ending)
                ]
        if not packages:
            return ""
        package, path = packages[0]
        return f"; the package {package} contains {path}"


def _expand(directories: Iterable[str], resolved: ResolvedPath, elf: Elf) -> tuple[str, ...]:
    """`$ORIGIN` is the directory of the file, `$LIB` where libraries of its kind are (ld.so(8))."""
    values = {
        "ORIGIN": posixpath.dirname(resolved.path),
        "LIB": f"lib/{_MULTIARCH[elf.kind[1]]}" if elf.kind[1] in _MULTIARCH else "lib",
    }

    def value(match: re.Match[str]) -> str:
        return values.get(match[1] or match[2], match[0])

    expanded = [re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, directory) for directory in directories]
    return tuple(posixpath.normpath(path) for path in expanded if path.startswith("/"))


def _defaults(elf: Elf) -> tuple[str, ...]:
    """Where the loader looks without any configuration."""
    return _places(_MULTIARCH.get(elf.kind[1], ""), elf.kind[0])


def _places(multiarch: str, bits: int) -> tuple[str, ...]:
    own = (f"/lib/{multiarch}", f"/usr/lib/{multiarch}") if multiarch else ()
    wide = ("/lib64", "/usr/lib64") if bits == 64 else ()
    return (*own, *wide, "/lib", "/usr/lib")


def applets_of(busybox: bytes) -> tuple[str, ...]:
    """The names that a busybox answers to. It has them in one sorted list, each ended by a zero (libbb/appletlib.c),
    and is not executed: it may be for another machine. Nothing where there is no such list."""
    start = busybox.find(b"[\0[[\0")
    if start < 0:
        return ()
    names: list[str] = []
    for name in busybox[start : start + (1 << 16)].split(b"\0"):
        if (
            not name
            or re.fullmatch(rb"[A-Za-z0-9_.\[+-]+", name) is None
            or (names and name.decode() <= names[-1])
        ):
            break
        names.append(name.decode())
    return tuple(names)
