"""A kit of a root that holds next to nothing, and the image that it becomes."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from dibo.disk.boot_preparation import boot_templates
from dibo.errors import OutputError, RamdiskError, RootNotBootable
from dibo.flavours.ramdisk_requests import parse_wishes
from dibo.images.layers.spool import Spool
from dibo.images.sources.choose import choose_image
from dibo.kits.layer import check_kit_output, descriptor, save_kit, with_entry, write_layer
from dibo.kits.make import _APPLETS, Kit, KitSpec, make_kit
from dibo.kits.manifest import LABEL
from dibo.ramdisk.elf import read_elf
from dibo.ramdisk.source import ContentReader
from dibo.tree.node import Node
from tests.support.elf_files import AARCH64, elf
from tests.support.node_trees import Content, Program, listing, tree
from tests.unit.ramdisk.test_make import NoSpool, kernel

APPLETS = sorted({*_APPLETS, "[", "[[", "cat", "busybox"})
BUSYBOX = Program(elf() + b"".join(name.encode() + b"\0" for name in APPLETS) + b"\0")
LOADER = "/lib64/ld-linux-x86-64.so.2"
EPOCH = 1_700_000_000
VERSION = "6.12-cloud"
ROOT: dict[str, Content | Node] = {
    "bin": "usr/bin",
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "usr/bin/busybox": BUSYBOX,
    "usr/bin/catatonit": Program(elf()),
    "usr/bin/setpriv": Program(elf(interpreter=LOADER, needed=["libcap-ng.so.0"])),
    "usr/lib64/ld-linux-x86-64.so.2": Program(elf()),
    "usr/lib/x86_64-linux-gnu/libcap-ng.so.0": "libcap-ng.so.0.0",
    "usr/lib/x86_64-linux-gnu/libcap-ng.so.0.0": elf(),
    "usr/lib/grub/x86_64-efi/monolithic/grubx64.efi": b"grub",
    "usr/lib/firmware/net.bin": b"firmware",
    "etc/shadow": b"secret",
    "etc/os-release": b'PRETTY_NAME="Debian"\n',
    **kernel(VERSION),
    f"usr/lib/modules/{VERSION}/build": "/usr/src/linux",
}
SPEC = KitSpec(
    profile="cloud",
    architecture="amd64",
    requests=(parse_wishes("boot-kit", {"modules": b"card ?none"}, origin="/f/boot-kit"),),
    templates=boot_templates(),
    options={},
    epoch=EPOCH,
)


def made(entries: dict[str, Content | Node] = ROOT) -> Kit:
    return make_kit(tree(entries), SPEC, ContentReader(NoSpool()))  # type: ignore[arg-type]


def test_what_is_in_a_kit() -> None:
    kit = made()
    files: dict[str, Any] = dict(listing(kit.tree))
    assert (kit.manifest.kernel, kit.manifest.profile) == (VERSION, "cloud")
    assert files[f"boot/vmlinuz-{VERSION}"] == f"kernel {VERSION}".encode()
    assert files[f"boot/initrd.img-{VERSION}"][:4] == b"\x28\xb5\x2f\xfd"  # zstd
    assert f"usr/lib/modules/{VERSION}/kernel/card.ko" in files
    assert f"usr/lib/modules/{VERSION}/build" not in files
    assert files["usr/lib/firmware/net.bin"] == b"firmware"
    assert files["usr/lib/dibo/kit/bin/mount"] == "busybox"
    assert files["usr/lib/dibo/kit/bin/catatonit"] == ROOT["usr/bin/catatonit"]
    assert read_elf(files["usr/lib/dibo/kit/libexec/setpriv"]).interpreter == "/usr/lib/dibo/kit/ld.so"
    assert b"LD_LIBRARY_PATH=/usr/lib/dibo/kit/lib exec" in files["usr/lib/dibo/kit/bin/setpriv"]
    assert files["usr/lib/dibo/kit/ld.so"] == "lib/ld-linux-x86-64.so.2"
    assert {"ld-linux-x86-64.so.2", "libcap-ng.so.0"} <= {path.rpartition("/")[2] for path in files}
    assert files["usr/lib/dibo/boot/esp/EFI/BOOT/BOOTX64.EFI"] == b"grub"
    assert json.loads(files["usr/lib/dibo/boot/manifest.json"]) == {"format": 1, "esp": "esp"}
    menu = files["boot/grub/grub.cfg"].decode()
    assert "set timeout=0\n" in menu
    assert "rw console=tty0 console=ttyS0,115200 quiet\n" in menu
    assert not any("dropbear" in path or "shadow" in path for path in files)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("usr/bin/catatonit", "no catatonit"),
        ("usr/bin/setpriv", "util-linux"),
        ("usr/bin/busybox", "no busybox"),
    ],
)
def test_a_program_is_missing(name: str, words: str) -> None:
    with pytest.raises(RamdiskError) as caught:
        made({path: content for path, content in ROOT.items() if path != name})
    assert words in f"{caught.value.message}\n{caught.value.hint}"


def test_a_busybox_for_other_purposes() -> None:
    small = Program(elf() + b"[\0[[\0cat\0sh\0\0")
    with pytest.raises(RamdiskError, match="busybox has no acpid, awk") as caught:
        made({**ROOT, "usr/bin/busybox": small})
    assert "busybox-static" in caught.value.hint


def test_a_program_that_is_none() -> None:
    with pytest.raises(RamdiskError, match="the root's catatonit is no program"):
        made({**ROOT, "usr/bin/catatonit": Program(b"\x7fELF damaged")})
    with pytest.raises(RamdiskError, match="libcap-ng"):
        libraries = {path: content for path, content in ROOT.items() if "libcap" not in path}
        made({**libraries, "usr/lib/x86_64-linux-gnu/libcap-ng.so.0": elf(machine=AARCH64)})


def test_a_root_without_boot_loaders() -> None:
    with pytest.raises(RootNotBootable):
        made({path: content for path, content in ROOT.items() if "grub" not in path})


def layer(tmp_path: Path) -> Any:
    with tempfile.TemporaryFile() as file:
        return write_layer(made(), Spool(file), tmp_path / "layer", epoch=EPOCH)


def test_the_layer_leaves_directories_of_the_image_alone(tmp_path: Path) -> None:
    image = layer(tmp_path)
    plain = zstandard.ZstdDecompressor().decompressobj().decompress((tmp_path / "layer").read_bytes())
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        members = {member.name: member for member in tar.getmembers()}
    directories = {name for name, member in members.items() if member.isdir()}
    assert directories & {".", "./boot", "./usr", "./usr/lib", "./usr/lib/modules", "./usr/lib/dibo"} == set()
    assert {
        "./usr/lib/dibo/kit",
        "./usr/lib/dibo/kit/.wh..wh..opq",
        "./usr/lib/dibo/service/.wh..wh..opq",
        "./usr/lib/dibo/boot/.wh..wh..opq",
    } <= set(members)
    assert all(member.mtime <= EPOCH and member.uid == 0 for member in members.values())
    assert image.config["config"]["Labels"] == {LABEL: "cloud"}
    (tmp_path / "again").mkdir()
    assert layer(tmp_path / "again").digest == image.digest


def test_kits_for_two_architectures_in_one_layout(tmp_path: Path) -> None:
    image = layer(tmp_path)
    other = for_arm(image)
    directory = tmp_path / "kit"
    first = save_kit(image, directory)
    save_kit(other, directory)
    assert save_kit(image, directory) == first
    index = json.loads((directory / "index.json").read_text())
    platforms = [entry["platform"]["architecture"] for entry in index["manifests"]]
    assert platforms == ["amd64", "arm64"]
    for architecture in platforms:
        with choose_image(f"oci:{directory}", architecture=architecture, scratch=tmp_path) as found:
            assert found.architecture == architecture
            with found.layers[0].open() as stream:
                assert stream.read(4) == b"\x28\xb5\x2f\xfd"
    assert not list(directory.rglob("*.part"))


def for_arm(image: Any) -> Any:
    config = {**image.config, "architecture": "arm64", "variant": "v8"}
    return replace(image, architecture="arm64", config=config)


def test_outputs_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "file").touch()
    for path in (tmp_path / "full", tmp_path / "file", tmp_path / "none" / "kit", Path("/sys/kit")):
        with pytest.raises(OutputError):
            check_kit_output(path)
    (tmp_path / "empty").mkdir()
    check_kit_output(tmp_path / "empty")
    check_kit_output(tmp_path / "new")
    entry, _, _ = descriptor(layer(tmp_path))
    with pytest.raises(OutputError, match="something else than kits"):
        with_entry({"manifests": [{"digest": "sha256:0"}]}, entry, place="web:1")
