"""Inventories for tests of reports: small ones, hostile ones, and one of a hundred thousand files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dibo.contents.inventory import FileRecord, InstalledPackage, Inventory, LayerRecord, Totals, Unit
from dibo.reports.make_report import make_report
from dibo.reports.model import ReportedImage

HOSTILE = (
    "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    "\x1b[2J\u202egpj.exe\u200b\udcff&amp;]]>-->"
)
"""What a name in an image may be."""


def record(size: int = 0, **fields: Any) -> FileRecord:
    """A file with `size` bytes."""
    given: dict[str, Any] = {"kind": "file", "mode": 0o644, "uid": 0, "gid": 0, "mtime": 0, "size": size}
    return FileRecord(**given | fields)


def directory() -> FileRecord:
    return record(kind="directory", mode=0o755)


def inventory(files: Mapping[bytes, FileRecord], **fields: Any) -> Inventory:
    """With the directories that `files` need, in the order of a walk."""
    every = dict(files)
    for path in files:
        above = path.rpartition(b"/")[0]
        while above and above not in every:
            every[above] = directory()
            above = above.rpartition(b"/")[0]
    ordered = {path: every[path] for path in sorted(every, key=lambda path: path.split(b"/"))}
    regular = [entry for entry in ordered.values() if entry.kind == "file" and not entry.first_name]
    totals = Totals(
        entries=len(ordered),
        files=len(regular),
        directories=sum(entry.kind == "directory" for entry in ordered.values()),
        symlinks=0,
        bytes=sum(entry.size for entry in regular),
        stored=0,
    )
    given: dict[str, Any] = {"name": "web.qcow2", "form": "disk", "format": "qcow2", "architecture": "amd64"}
    return Inventory(**given | {"root": directory(), "files": ordered, "totals": totals} | fields)


def report_on(files: Mapping[bytes, FileRecord], **fields: Any) -> ReportedImage:
    return make_report(inventory(files, **fields), read_text=lambda _: "")


def layer(title: str, *, key: str = "", flavour: str = "", size: int = 0) -> LayerRecord:
    return LayerRecord(digest="", diff_id="", size=size, key=key, flavour=flavour, title=title)


def hostile_report() -> ReportedImage:
    """Each text of an image is HOSTILE."""
    name = HOSTILE.encode(errors="surrogateescape")
    service = f"{HOSTILE}.service"
    unit = Unit(
        name=service,
        path=b"etc/systemd/system/" + name.replace(b"/", b"_"),
        state="enabled",
        description=HOSTILE,
        wanted_by=("multi-user.target",),
        start=HOSTILE,
        package=HOSTILE,
    )
    return report_on(
        {
            b"usr/" + name.replace(b"/", b"|"): record(5000, package=HOSTILE, mode=0o4755, layer=0),
            b"usr/\xff\xfe\n": record(10),
        },
        name=HOSTILE,
        digest=HOSTILE,
        os_release={"PRETTY_NAME": HOSTILE},
        packages=(
            InstalledPackage(
                name=HOSTILE, architecture=HOSTILE, version=HOSTILE, manager=HOSTILE, summary=HOSTILE
            ),
        ),
        units=(unit,),
        layers=(layer(HOSTILE, key="a" * 64, flavour=HOSTILE),),
        config={"Cmd": [HOSTILE], "ExposedPorts": {f"80/{HOSTILE}": {}}},
        cmdline=(HOSTILE,),
        notes=(HOSTILE,),
        manifest={
            "flavours": [{"name": HOSTILE, "asked": True}],
            "made-by": {"dibo": HOSTILE},
            "epoch": HOSTILE,
        },
    )


def large_report(count: int = 100_000) -> ReportedImage:
    """Of `count` files in some thousand packages, with names of the usual length, in three layers."""
    files = {}
    for number in range(count):
        package = f"package-{number // 40:05}"
        path = f"usr/share/doc/{package}/file-{number * 7919 % 1_000_003:07x}-of-{number % 97}.dat"
        size = (number * 2_654_435_761) % (1 << (8 + number % 12))
        files[path.encode()] = record(size, package=package, layer=number % 3)
    packages = tuple(
        InstalledPackage(
            name=f"package-{number:05}",
            architecture="amd64",
            version=f"1:{number}.2-3+deb12u1",
            manager="dpkg",
        )
        for number in range(count // 40 + 1)
    )
    layers = (layer("base debian"), layer("web install.d: packages", flavour="web"), layer("finalise"))
    return report_on(files, packages=packages, layers=layers)
