"""Kernel modules by name, alias or directory, with all that they need.

What needs what is in the files that depmod(8) made where the kernel was installed: modules.dep for symbols,
modules.softdep and modules.weakdep for what a module asks for without needing its symbols. Firmware is named by the
modules themselves, in their section .modinfo.
"""

from __future__ import annotations

import fnmatch
import io
import posixpath
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

from dibo.errors import RamdiskError
from dibo.flavours.ramdisk_requests import RequestedName
from dibo.flavours.schema import nearest
from dibo.ramdisk.depmod import COPIED, aliases_of, depmod, module_name, normal
from dibo.ramdisk.elf import modinfo
from dibo.ramdisk.selection import Read, Selection, children, files_below, resolve
from dibo.tree.node import Node
from dibo.units import MIB, human_size

LARGEST: Final = 256 * MIB
"""Bytes of a module or a file of firmware. The largest modules have some 50 MiB, with all that debuggers read."""
MOST: Final = 2048 * MIB
"""Bytes of all modules of a ramdisk together, unpacked. All that Debian's largest kernel has come to 600 MiB."""
_XZ_MEMORY: Final = 256 * MIB
"""Bytes; `xz -9` takes 65 MiB. A header can ask for 4 GiB."""
FIRMWARE: Final = "/lib/firmware"
_TEXTS: Final = ("dep", "alias", "symbols", "softdep", "weakdep", "devname", "order")
_PLACES: Final = ("kernel/", "updates/dkms/", "updates/", "extra/", "")
_COMPRESSED: Final = (".xz", ".zst", ".gz")


class ModuleTree:
    """The modules of one kernel, as its depmod files say."""

    def __init__(self, root: Node, version: str, read: Read) -> None:
        """Raises RamdiskError where there are none."""
        self.root = root
        self.read = read
        self.version = version
        self.directory = f"/lib/modules/{version}"
        names = children(root, self.directory)
        if not {"modules.dep", "modules.alias"} <= set(names):
            raise RamdiskError(
                f"the modules of kernel {version} have no index: {self.directory}/modules.dep is missing",
                hint=f"run depmod {version} where the modules are installed",
            )
        self.texts = {
            name: self._text(name) for name in (f"modules.{kind}" for kind in _TEXTS) if name in names
        }
        self.paths: dict[str, str] = {}
        self.needs: dict[str, tuple[str, ...]] = {}
        for line in self.texts["modules.dep"].splitlines():
            path, _, needs = line.partition(":")
            self.paths[module_name(path)] = path
            self.needs[module_name(path)] = tuple(module_name(word) for word in needs.split())
        self.builtin = {
            module_name(line): line for line in self._text("modules.builtin").splitlines() if line
        }
        self._soft = _soft(self.texts)

    def _text(self, name: str) -> str:
        matches = resolve(self.root, f"{self.directory}/{name}")
        return self.read(matches.node).decode(errors="surrogateescape") if matches else ""

    def named(self, word: RequestedName) -> tuple[str, ...]:
        """The modules that a word of a flavour means; none where it is built in, or may be missing and is. Raises
        RamdiskError."""
        text = word.text.removeprefix("?")
        if text.startswith("dir:"):
            matches, known = self._below(text.removeprefix("dir:").strip("/") + "/")
        else:
            name = text.replace("-", "_")
            matches, known = ((name,), True) if name in self.paths else self._aliased(text)
            known = known or name in self.builtin
        if not matches and not known and not word.text.startswith("?"):
            raise RamdiskError(
                f"{word.origin} names the kernel module {text!r}, which kernel {self.version} does not have"
                f"{nearest(text.replace('-', '_'), self.paths)}",
                hint="install the package that contains it, or write ?NAME if it is optional",
            )
        return matches

    def _below(self, directory: str) -> tuple[tuple[str, ...], bool]:
        beginnings = tuple(place + directory for place in _PLACES)
        matches = tuple(name for name, path in self.paths.items() if path.startswith(beginnings))
        return matches, any(path.startswith(beginnings) for path in self.builtin.values())

    def _aliased(self, alias: str) -> tuple[tuple[str, ...], bool]:
        pattern_text = normal(alias)
        matches: dict[str, None] = {}
        for pattern, name in self._aliases:
            if pattern == pattern_text or fnmatch.fnmatchcase(pattern_text, pattern):
                matches[name] = None
        return tuple(name for name in matches if name in self.paths), bool(matches)

    @cached_property
    def _aliases(self) -> list[tuple[str, str]]:
        """(alias, module), aliases as the index has them: some 20,000, read once for all that is looked for."""
        pairs = aliases_of(self.texts["modules.alias"])
        return [(normal(alias), name) for alias, name in pairs]

    def closure(self, names: Iterable[str]) -> tuple[str, ...]:
        """`names` and all that they need or ask for, sorted."""
        done: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in done or name not in self.paths:
                continue
            done.add(name)
            waiting += self.needs[name]
            for word in self._soft.get(name, ()):
                waiting += (word,) if word in self.paths else self._aliased(word)[0]
        return tuple(sorted(done))


def _soft(texts: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """`softdep NAME pre: a b post: c` and `weakdep NAME a b`: modules or aliases (modprobe.d(5))."""
    matches: dict[str, tuple[str, ...]] = {}
    for file in ("modules.softdep", "modules.weakdep"):
        for line in texts.get(file, "").splitlines():
            words = line.split()
            if len(words) > 2 and words[0] in ("softdep", "weakdep"):
                names = tuple(word.replace("-", "_") for word in words[2:] if not word.endswith(":"))
                name = words[1].replace("-", "_")
                matches[name] = matches.get(name, ()) + names
    return matches


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedModules:
    """What went into a ramdisk."""

    modules: tuple[str, ...]
    firmware: tuple[str, ...]
    missing_firmware: tuple[str, ...]
    """Named by modules, and not in the root: most of it is for other hardware."""


def take_modules(tree: ModuleTree, words: Iterable[RequestedName], selection: Selection) -> SelectedModules:
    """Put the modules that `words` mean into the ramdisk, with their firmware and indexes. They lie there without
    compression: the ramdisk is compressed as a whole. Raises RamdiskError."""
    names = tree.closure(name for word in words for name in tree.named(word))
    moved: dict[str, str] = {}
    firmware: dict[str, None] = {}
    room = MOST
    for name in names:
        path = tree.paths[name]
        matches = resolve(tree.root, f"{tree.directory}/{path}")
        if matches is None:
            raise RamdiskError(
                f"the kernel module {tree.directory}/{path} is in modules.dep and not in the root",
                hint=f"run depmod {tree.version} where the modules are installed",
            )
        plain = _plain(path)
        data = decompress(tree.read(matches.node), path)
        room -= len(data)
        if room < 0:
            raise RamdiskError(
                f"the kernel modules have more than {human_size(MOST)} together, unpacked",
                hint="name fewer in `modules`; or they are not what they seem: whose image is it?",
            )
        if plain != path:
            moved[name] = plain
            selection.put(f"{tree.directory}/{plain}", data)
        else:
            selection.place(f"{tree.directory}/{plain}", matches.node)
        if b"firmware=" in data:
            firmware.update(dict.fromkeys(_firmware(data, path)))
    for name, data in depmod(tree.texts, names, paths=moved).items():
        selection.put(f"{tree.directory}/{name}", data)
    for name in COPIED:
        if (matches := resolve(tree.root, f"{tree.directory}/{name}")) is not None:
            selection.place(f"{tree.directory}/{name}", matches.node)
    present, missing = _take_firmware(tree, firmware, selection)
    return SelectedModules(modules=names, firmware=present, missing_firmware=missing)


def _plain(path: str) -> str:
    stem, ending = posixpath.splitext(path)
    return stem if ending in _COMPRESSED else path


def decompress(data: bytes, path: str) -> bytes:
    """A module or other file as the kernel takes it. Raises RamdiskError."""
    import lzma
    import zlib

    import zstandard

    try:
        with _opened(data, path) as stream:
            plain = bytes(stream.read(LARGEST + 1))
    except (lzma.LZMAError, zlib.error, zstandard.ZstdError, OSError, EOFError) as error:
        raise RamdiskError(f"{path} is damaged: {error}") from error
    if len(plain) > LARGEST:
        raise RamdiskError(f"{path} has more than {human_size(LARGEST)}: no module or firmware is so large")
    return plain


def _opened(data: bytes, path: str) -> Any:
    import gzip

    import zstandard

    match posixpath.splitext(path)[1]:
        case ".xz":
            return _XzReader(data)
        case ".gz":
            return gzip.GzipFile(fileobj=io.BytesIO(data))
        case ".zst":
            return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    return io.BytesIO(data)


class _XzReader:
    """What xz made. As the kernel, it reads one stream (lib/decompress_unxz.c)."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def read(self, size: int) -> bytes:
        import lzma

        decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        unpacked = decompressor.decompress(self._data, size)
        if not decompressor.eof and len(unpacked) < size:
            raise EOFError("it ends too early")
        return unpacked


def _firmware(module: bytes, path: str) -> list[str]:
    try:
        return modinfo(module).get("firmware", [])
    except ValueError as error:
        raise RamdiskError(f"the kernel module {path} is damaged: {error}") from error


def _take_firmware(
    tree: ModuleTree, names: Iterable[str], selection: Selection
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Firmware by name, or by a pattern, as the kernel's loader looks for it (admin-guide, firmware)."""
    taken: list[str] = []
    missing: list[str] = []
    every: tuple[str, ...] | None = None
    for name in names:
        if any(char in name for char in "*?["):
            every = every if every is not None else _all_firmware(tree.root)
            matches = [path for path in every if fnmatch.fnmatchcase(_bare(path), name)]
        else:
            matches = [path for path in _candidates(tree, name) if resolve(tree.root, f"{FIRMWARE}/{path}")]
        for path in matches:
            _copy_from(tree.root, f"{FIRMWARE}/{path}", selection)
        taken += matches
        if not matches:
            missing.append(name)
    return tuple(taken), tuple(missing)


def _candidates(tree: ModuleTree, name: str) -> list[str]:
    places = ("", "updates/", f"{tree.version}/", f"updates/{tree.version}/")
    return [f"{place}{name}{ending}" for place in places for ending in ("", ".xz", ".zst")]


def _bare(path: str) -> str:
    stem, ending = posixpath.splitext(path)
    return stem if ending in (".xz", ".zst") else path


def _all_firmware(root: Node) -> tuple[str, ...]:
    matches = resolve(root, FIRMWARE)
    if matches is None:
        return ()
    return tuple(path.removeprefix(f"{matches.path}/") for path in files_below(root, matches.path))


def _copy_from(root: Node, path: str, selection: Selection) -> None:
    """Of the tree that the modules are from, which need not be the one that the rest is from."""
    if root is selection.root:
        selection.take(path)
        return
    matches = resolve(root, path)
    if matches is not None and stat.S_ISREG(matches.node.mode):
        selection.place(path, matches.node)
