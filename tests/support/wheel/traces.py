"""Whether an image has what an element is to leave in it.

etc/hostname              a path, or the beginning of one
etc/hostname ~ REGEX      a file whose text matches
no PATH                   nothing of that name
package NAME              installed, says dpkg
enabled UNIT              by systemctl
partition TYPE            a partition of the disk, in the words of fdisk
call REGEX                a stand-in for a program was called so
"""

from __future__ import annotations

import re
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.wheel.model import WheelGroup

CALLS: Final = "var/lib/calls"
"""Where stand-ins for programs write how they were called."""
_TEXT_LIMIT: Final = 1 << 22
_STATUS: Final = "var/lib/dpkg/status"


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelImage:
    """What was built: texts of files of the tree by path, and the types of partitions of the disk."""

    texts: dict[str, str]
    links: dict[str, str] = field(default_factory=dict)
    partitions: tuple[str, ...] = ()
    has_disk: bool = False

    def problem(self, trace: str) -> str:
        """Why a trace is not there, or nothing."""
        word, _, rest = trace.partition(" ")
        if word == "package":
            return "" if self._has_package(rest) else f"the package {rest} is not installed"
        if word == "enabled":
            wanted = re.compile(rf"etc/systemd/system/\S+\.(wants|requires)/{re.escape(rest)}")
            return "" if any(map(wanted.fullmatch, self.texts)) else f"the unit {rest} is not enabled"
        if word == "link":
            path, _, target = rest.partition(" ")
            return "" if self.links.get(path) == target else f"{path} leads to {self.links.get(path)}"
        if trace.startswith("no call "):
            return "" if self.problem(rest) else f"there is a {rest}"
        if trace == "no disk":
            return "a disk was made" if self.has_disk else ""
        if word == "no":
            return f"{rest} is there" if rest in self.texts else ""
        if word == "partition":
            return "" if rest in self.partitions else f"partitions are {self.partitions}"
        if word == "call":
            return (
                "" if re.search(rest, self.texts.get(CALLS, ""), re.MULTILINE) else self.texts.get(CALLS, "")
            )
        return self._problem_of_file(trace)

    def _problem_of_file(self, trace: str) -> str:
        path, separator, pattern = trace.partition(" ~ ")
        if not separator:
            return "" if any(name.startswith(path) for name in self.texts) else f"{path} is missing"
        if path not in self.texts:
            return f"{path} is missing"
        return "" if re.search(pattern, self.texts[path], re.MULTILINE) else f"{path} is {self.texts[path]!r}"

    def _has_package(self, name: str) -> bool:
        stanza = rf"^Package: {re.escape(name)}\nStatus: install ok installed$"
        return re.search(stanza, self.texts.get(_STATUS, ""), re.MULTILINE) is not None


def problems(group: WheelGroup, image: WheelImage) -> dict[tuple[str, str], str]:
    """Why traces of a group are not in its image, by (element, trace)."""
    return {
        (name, trace): problem
        for name, traces in group.traces.items()
        for trace in traces
        if (problem := image.problem(trace))
    }


def read_image(tar: Path, raw: Path | None = None) -> WheelImage:
    """The image that was built, from its tar, and its disk where there is one."""
    texts: dict[str, str] = {}
    links: dict[str, str] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            content = archive.extractfile(member) if member.isfile() and member.size < _TEXT_LIMIT else None
            if member.issym():
                links[name] = member.linkname
            texts[name] = content.read().decode(errors="replace") if content is not None else ""
    return WheelImage(
        texts=texts,
        links=links,
        partitions=_partitions(raw) if raw is not None else (),
        has_disk=raw is not None,
    )


def _partitions(raw: Path) -> tuple[str, ...]:
    """The types of the partitions of a disk, whose sectors have 512 bytes or 4096."""
    for size in ("512", "4096"):
        said = subprocess.run(
            ["fdisk", "-b", size, "--list", "--output", "device,type", raw],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        types = re.findall(rf"^{re.escape(str(raw))}\S+ +(.*?) *$", said, re.MULTILINE)
        if types and types != ["GPT"]:
            return tuple(types)
    return ()
