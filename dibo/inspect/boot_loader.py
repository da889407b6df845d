"""What the boot loader of a disk would load: entries of grub.cfg, and of the Boot Loader Specification, type 1.

    grub.cfg                linux PATH ARGUMENTS      the first of a path counts; its menu's order is the default's
                            initrd PATH…              several belong one behind the other: microcode comes first
    grubenv                 kernelopts=ARGUMENTS      what entries mean by $kernelopts
    loader/entries/*.conf   linux, initrd…, options…  several lines of a key are one list

GRUB manual, 6.3 (grub.cfg), 11 (environment block); uapi-group.org, Boot Loader Specification.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dibo.formats.filesystem import FileSystem, names_in, read_text

PLACES: Final = ("/boot", "/")
"""Where the files of boot loaders are: /boot may be a volume of its own."""
_GRUB: Final = ("grub", "grub2")
_MOST_CONFIG: Final = 1 << 20
_MOST_ENTRIES: Final = 256
_PLAIN: Final = re.compile(r"[!-~]+")
_LINUX: Final = ("linux", "linux16", "linuxefi")
_INITRD: Final = ("initrd", "initrd16", "initrdefi")
_KERNEL_OPTIONS: Final = "kernelopts"
_SET: Final = re.compile(r"^\s*set\s+kernelopts=(\"?)([^\"\n]*)\1\s*$", re.MULTILINE)
_VERSION_IN_NAME: Final = re.compile(r"(?:linux|vmlinuz|kernel)-(\d+\.\d+[0-9A-Za-z.+~]*(?:-rc\d+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BootEntry:
    """Paths as the entry has them. `arguments` are without what is the boot loader's own business."""

    kernel: str
    ramdisks: tuple[str, ...]
    arguments: tuple[str, ...]
    title: str = ""
    """The name of the entry's file, and the version that it says."""
    version: str = ""
    missing: tuple[str, ...] = ()
    """Variables that have arguments, and are nowhere."""


class Grub:
    """The configuration of GRUB on a volume; of none, it has no entry."""

    def __init__(self, system: FileSystem) -> None:
        self.config = _first(system, "grub.cfg")
        options = _environment(_first(system, "grubenv")).get(_KERNEL_OPTIONS)
        if options is None:
            words = [match[2] for match in _SET.finditer(self.config)]
            options = words[-1] if words else None
        self.variables: dict[str, str] = {} if options is None else {_KERNEL_OPTIONS: options}
        self.entries = tuple(self._entries())

    def entry_of(self, path: str) -> BootEntry | None:
        """The first entry for the kernel at `path`; GRUB may see it below a directory of its own."""
        return next((entry for entry in self.entries if entry.kernel.endswith(path)), None)

    def _entries(self) -> Iterator[BootEntry]:
        kernel: list[str] = []
        ramdisks: list[str] = []
        for line in self.config.splitlines():
            words = line.split()
            if len(words) < 2:
                continue
            if words[0] in _LINUX:
                if kernel:
                    yield self._entry(kernel, ramdisks)
                kernel, ramdisks = words[1:], []
            elif words[0] in _INITRD:
                ramdisks += words[1:]
        if kernel:
            yield self._entry(kernel, ramdisks)

    def _entry(self, words: list[str], ramdisks: list[str]) -> BootEntry:
        arguments, missing = expand(words[1:], self.variables)
        return BootEntry(
            kernel=words[0],
            ramdisks=tuple(path for path in ramdisks if "$" not in path),
            arguments=arguments,
            missing=missing,
        )


def specified_entries(system: FileSystem, place: str, variables: Mapping[str, str]) -> Iterator[BootEntry]:
    """Entries of the Boot Loader Specification below `place`, in the order of their names, numbers as numbers."""
    directory = f"{place.rstrip('/')}/loader/entries"
    names = [name.decode(errors="replace") for name in names_in(system, directory) if name.endswith(b".conf")]
    for name in sorted(names[:_MOST_ENTRIES], key=_natural):
        text = read_text(system, f"{directory}/{name}", limit=_MOST_CONFIG) or ""
        lines = [line.split(None, 1) for line in text.splitlines() if not line.startswith("#")]
        keys: dict[str, list[str]] = {}
        for words in lines:
            if len(words) == 2:
                keys.setdefault(words[0], []).append(words[1].strip())
        kernel = keys.get("linux", [""])[-1]
        if _PLAIN.fullmatch(kernel) is None:
            continue
        arguments, missing = expand(" ".join(keys.get("options", [])).split(), variables)
        yield BootEntry(
            kernel=kernel,
            ramdisks=tuple(
                path for line in keys.get("initrd", []) for path in line.split() if "$" not in path
            ),
            arguments=arguments,
            title=name.removesuffix(".conf"),
            version=keys.get("version", [""])[-1],
            missing=missing,
        )


def version_of(entry: BootEntry) -> str:
    """A word that names the entry's kernel where the name of its file does not: its version, unless that is a sentence;
    else the one in its path, or the name of the entry."""
    if _PLAIN.fullmatch(entry.version):
        return entry.version
    match = _VERSION_IN_NAME.search(entry.kernel.rpartition("/")[2])
    return match[1] if match else entry.title if _PLAIN.fullmatch(entry.title) else ""


def expand(words: list[str], variables: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Arguments without those that are the boot loader's own, and the names of variables without a value."""
    arguments: list[str] = []
    missing: list[str] = []
    for word in words:
        name = word.removeprefix("$").removeprefix("{").removesuffix("}") if word.startswith("$") else ""
        if name in variables:
            arguments += filter(_is_plain, variables[name].split())
        elif name == _KERNEL_OPTIONS:
            missing.append(name)
        elif _is_plain(word):
            arguments.append(word)
    return tuple(arguments), tuple(missing)


def _is_plain(word: str) -> bool:
    """Whether it is no variable of the boot loader's, nor of its own business."""
    own = ("BOOT_IMAGE=", "initrd=", '"', "'")
    return _PLAIN.fullmatch(word) is not None and "$" not in word and not word.startswith(own)


def _environment(text: str) -> dict[str, str]:
    """An environment block: lines of NAME=VALUE, `\\` before what is special, `#` to the end of 1024 bytes."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name: re.sub(r"\\(.)", r"\1", value) for name, sign, value in pairs if sign}


def _first(system: FileSystem, name: str) -> str:
    paths = (f"{place.rstrip('/')}/{directory}/{name}" for place in PLACES for directory in _GRUB)
    texts = (read_text(system, path, limit=_MOST_CONFIG) for path in paths)
    return next((text for text in texts if text), "")


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(1, int(part), "") if part[0] in "0123456789" else (0, 0, part) for part in parts]
