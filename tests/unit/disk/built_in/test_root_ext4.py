"""The root as one ext4: files, holes, links, and an fstab for one disk; the tree is as before afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.disk.built_in.job import ConversionJob
from dibo.disk.built_in.root_ext4 import adapted_fstab, write_root
from dibo.formats.ext4.reader import Ext
from dibo.formats.filesystem import find, whole
from dibo.formats.vm_disks.identity import NO_IDENTITY
from dibo.inspect.open_image import FileSource
from dibo.tree.query import find as find_node
from dibo.units import MIB
from tests.support.spooled_trees import spooled


def test_files_and_fstab(tmp_path: Path) -> None:
    root = spooled(
        {
            "etc/fstab": b"LABEL=x / ext4\ntmpfs /tmp tmpfs defaults\n",
            "usr/bin/program": b"\x7fELF" * 5000,
            "bin": "usr/bin",
        }
    )
    node = find_node(root.node, "/etc/fstab")
    assert node is not None
    before = (node.content, node.size)
    job = ConversionJob(
        target=tmp_path, name="web", architecture="amd64", size=16 * MIB, identity=NO_IDENTITY, root=root
    )
    write_root(job, tmp_path / "root.ext4")
    assert (node.content, node.size) == before
    system = Ext(FileSource(tmp_path / "root.ext4"))
    for path, data in (
        ("/bin/program", b"\x7fELF" * 5000),
        ("/etc/fstab", b"tmpfs /tmp tmpfs defaults\n/dev/vda / ext4 defaults 0 1\n"),
    ):
        entry = find(system, path)
        assert entry is not None
        assert whole(system, entry, limit=MIB, description=path) == data


@pytest.mark.parametrize(
    ("old", "kept"),
    [
        (b"", b""),
        (b"# UNCONFIGURED FSTAB FOR BASE SYSTEM\n", b""),
        (b"LABEL=root / ext4 defaults 0 1\nUUID=1-2 /boot/efi vfat\n", b""),
        (b"/dev/disk/by-root-disk/var /var ext4\nserver:/x /srv nfs\n", b"server:/x /srv nfs\n"),
        (b"overlay / overlay\n# note\n\n", b"# note\n\n"),
        (b"PARTUUID=1 none swap\nproc", b"proc\n"),
    ],
)
def test_fstab(old: bytes, kept: bytes) -> None:
    assert adapted_fstab(old) == kept + b"/dev/vda / ext4 defaults 0 1\n"
