"""Disks that are written in place of the disk under test, and what is found on them afterwards."""

from __future__ import annotations

import json
from pathlib import Path

from dibo.formats.partitions import gpt, identifiers
from dibo.machines.machine import MachineDisk
from dibo.system import process


def make_overlay(disk: Path, overlay: Path) -> None:
    """A qcow2 image on top of `disk`, which stays as it is."""
    info = process.run(["qemu-img", "info", "--output=json", str(disk)], capture=True)
    kind = json.loads(info.stdout)["format"]
    process.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", str(disk.resolve()), str(overlay)]
    )


def other_disk(disk: Path, overlay: Path) -> MachineDisk:
    """A disk of the same image, as another deployment would have made it: the same bytes but for the identifiers of
    disk and partitions. No firmware starts it. `overlay` is made, on top of `disk`.
    """
    make_overlay(disk, overlay)
    head, tail = overlay.with_suffix(".head"), overlay.with_suffix(".tail")
    argv = ["qemu-img", "dd", "-O", "raw", "bs=1M", "count=1", f"if={overlay}", f"of={head}"]
    process.run(argv)
    data = identifiers.replaced(head.read_bytes())
    assert data != head.read_bytes(), "the image does not allow other identifiers"
    head.write_bytes(data)
    info = process.run(["qemu-img", "info", "--output=json", str(overlay)], capture=True)
    copy = gpt.read_copy(lambda offset, size: data[offset : offset + size], lba=1)
    fitted = gpt.fit(copy, json.loads(info.stdout)["virtual-size"])
    tail.write_bytes(fitted.tail)
    for path, offset in ((head, 0), (tail, fitted.tail_offset)):
        command = f"write -s {path} {offset} {path.stat().st_size}"
        process.run(["qemu-io", "-f", "qcow2", "-c", command, str(overlay)])
        path.unlink()
    return MachineDisk(path=overlay, format="qcow2", serial="other", is_started=False)


def file_system_problems(overlay: Path, scratch: Path) -> str:
    """What e2fsck finds, which looks, without repairing, at the Linux root partition of a disk that no machine runs on;
    empty if that is sound."""
    raw = scratch / "disk.raw"
    process.run(["qemu-img", "convert", "-O", "raw", str(overlay), str(raw)])
    try:
        table = json.loads(process.run(["sfdisk", "--json", str(raw)], capture=True).stdout)["partitiontable"]
        root = max(table["partitions"], key=lambda partition: partition["size"])
        offset = root["start"] * table.get("sectorsize", 512)
        done = process.run(["e2fsck", "-f", "-n", f"{raw}?offset={offset}"], capture=True, check=False)
    finally:
        raw.unlink()
    if done.returncode == 0:
        return ""
    return f"e2fsck {process.describe_exit(done.returncode)}:\n{done.stdout}"
