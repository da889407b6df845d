"""Whether a root can boot is known before a disk is begun."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import yaml

from dibo.artefacts.converter import Converter, Takes
from dibo.build.engine import Root
from dibo.disk.common import load_root, needs_boot_files
from dibo.disk.plan import DiskSource
from dibo.disk.request import DiskRequest
from dibo.disk.survey import with_boot_files
from dibo.errors import RootNotBootable
from dibo.images.image import Layer, Reader
from dibo.images.layers.limits import Limits
from dibo.layout.merge import parse_layout
from dibo.system.report import Report
from dibo.tree.query import find
from dibo.tree.sinks import Nowhere
from dibo.units import GIB
from tests.support.images.tar_layers import file, layer
from tests.unit.disk.sample_requests import EXAMPLE

KERNEL = file(b"boot/vmlinuz-6.1", b"kernel")
INITRAMFS = file(b"boot/initrd.img-6.1", b"initramfs")
GRUB = file(b"usr/lib/grub/i386-pc/normal.mod", b"module")
MANIFEST = file(b"usr/lib/dibo/boot/manifest.json", b'{"format": 1}')


def request_for(text: str | None = EXAMPLE, *, takes: Takes = Takes.DISK) -> DiskRequest:
    return DiskRequest(
        output=Path("web"),
        converters=(Converter(type="raw", path=Path(), summary="", takes=takes),),
        layout=parse_layout(yaml.safe_load(text), origin="test") if text is not None else None,
        filesystem="ext4",
        size=GIB,
        size_set_by="",
        architecture="amd64",
        options={},
    )


def look(*layers: Layer) -> str:
    stream = io.StringIO()
    root = Root(name="made up", layers=layers, built=False)
    source = DiskSource(root=root, identity="made up", epoch=0, manifest=None)
    with_boot_files(request_for(), source, Report(stream), early=True)
    return stream.getvalue()


def unreadable() -> Layer:
    def opened() -> AbstractContextManager[Reader]:
        raise AssertionError("it is read")

    return Layer(open=opened, digest=None, size=None, diff_id=None)


def test_disks_with_a_place_for_boot_files_need_them() -> None:
    assert needs_boot_files(request_for())
    assert not needs_boot_files(request_for(None))
    assert not needs_boot_files(request_for(takes=Takes.ROOT))


def test_no_layer_is_read_below_those_that_have_what_is_needed() -> None:
    assert look(unreadable(), layer(MANIFEST)).startswith("boot files …\nboot files: done")
    look(unreadable(), layer(GRUB), layer(KERNEL, INITRAMFS))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([file(b"etc/hostname", b"web")], "the root has no kernel"),
        ([KERNEL, INITRAMFS], "no boot loader for amd64"),
        ([KERNEL, GRUB], "initramfs"),
    ],
)
def test_what_is_missing_is_named(files: list[bytes], message: str) -> None:
    with pytest.raises(RootNotBootable, match=message):
        look(layer(*files))


@pytest.mark.parametrize("built", [True, False])
def test_what_boot_files_are_made_of_is_kept(built: bool) -> None:
    """Also of a root that dibo built: its flavours need not have been those that make one bootable."""
    root = Root(name="made up", layers=(layer(GRUB, KERNEL, INITRAMFS),), built=built)
    source = DiskSource(root=root, identity="made up", epoch=0, manifest=None)
    tree = load_root(source, Limits(), Nowhere(), Report(io.StringIO()))
    module = find(tree.root, "/usr/lib/grub/i386-pc/normal.mod")
    assert module is not None and module.data == b"module"


def test_what_steps_left_beside_the_image_is_no_part_of_it() -> None:
    files = [file(b"var/lib/dibo-outputs/web.d/a", b"1"), file(b"var/lib/dibo-outputs/web.vmlinuz", b"22")]
    root = Root(name="made up", layers=(layer(*files, file(b"etc/web", b"3")),), built=True)
    source = DiskSource(root=root, identity="made up", epoch=0, manifest=None)
    tree = load_root(source, Limits(kept_bytes=1), Nowhere(), Report(io.StringIO()))
    assert tree.beside == {"web.d/a": b"1", "web.vmlinuz": b"22"}
    assert find(tree.root, "/var/lib/dibo-outputs") is None
    assert find(tree.root, "/etc/web") is not None
