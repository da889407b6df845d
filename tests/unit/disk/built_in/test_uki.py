"""A unified kernel image by itself, read by objdump, and its signature by sbverify."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from dibo.disk.built_in.job import ConversionJob
from dibo.disk.built_in.uki import make_uki
from dibo.errors import RootNotBootable
from dibo.formats.authenticode import signer
from dibo.formats.pe import sections
from dibo.formats.vm_disks.identity import NO_IDENTITY
from dibo.tree.node import Node
from tests.support.node_trees import Content, Program, listing
from tests.support.requirements import need
from tests.support.spooled_trees import spooled
from tests.unit.boot.test_initramfs import BUSYBOX, VERSION, root_with
from tests.unit.formats.test_authenticode import make_key
from tests.unit.formats.test_pe import stub

__all__ = ["stub"]

DISK = UUID("12345678-1234-5678-1234-567812345678")
STUB = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
ROOT: dict[str, Content | Node] = {
    "boot/vmlinuz-6.1.0-9": b"kernel",
    "boot/initrd.img-6.1.0-9": b"initramfs",
    "boot/vmlinuz-6.1.0-8": b"elder",
    "boot/initrd.img-6.1.0-8": b"elder initramfs",
    "etc/os-release": b"ID=debian\n",
    "etc/kernel/cmdline": b"root=LABEL=else quiet\n",
}


def made(
    directory: Path,
    entries: dict[str, Content | Node],
    *,
    options: dict[str, str] | None = None,
    sign: Callable[[bytes], bytes] | None = None,
) -> Path:
    target = directory / "web.efi"
    target.touch()
    make_uki(
        ConversionJob(
            target=target,
            name="web",
            architecture="amd64",
            size=0,
            identity=NO_IDENTITY,
            options=options or {},
            root=spooled(entries),
            root_uuid=DISK,
            sign=sign,
        )
    )
    return target


def test_its_sections(stub: bytes, tmp_path: Path) -> None:
    need("objcopy")
    image = made(tmp_path, {**ROOT, STUB: stub})

    def section(name: str) -> bytes:
        out = tmp_path / "section"
        argv = ["objcopy", "-O", "binary", f"--only-section={name}", str(image), str(out)]
        subprocess.run(argv, check=True)
        return out.read_bytes().rstrip(b"\0")

    assert section(".linux") == b"kernel"
    assert section(".initrd") == b"initramfs"
    assert section(".uname") == b"6.1.0-9"
    assert section(".osrel") == b"ID=debian\n"
    assert section(".cmdline") == f"root=UUID={DISK} ro quiet".encode()


def test_another_root(stub: bytes, tmp_path: Path) -> None:
    image = made(tmp_path, {**ROOT, STUB: stub}, options={"DIBO_CMDLINE": "root=LABEL=data rw"})
    assert sections(image.read_bytes())[".cmdline"].endswith(b" root=LABEL=data")


def test_a_signature(stub: bytes, tmp_path: Path) -> None:
    need("sbverify")
    key, certificate = make_key(tmp_path, "db", rsa.generate_private_key(65537, 2048))
    image = made(tmp_path, {**ROOT, STUB: stub}, sign=signer(key, certificate))
    subprocess.run(["sbverify", "--cert", str(certificate), str(image)], check=True)


def test_a_root_without_initramfs_gets_one(stub: bytes, tmp_path: Path) -> None:
    entries: dict[str, Content | Node] = dict(listing(root_with(BUSYBOX)))
    (busybox,) = (content for content in BUSYBOX.values() if isinstance(content, Program))
    image = made(tmp_path, {**entries, "usr/bin/busybox": busybox, STUB: stub})
    parts = sections(image.read_bytes())
    assert parts[".uname"] == VERSION.encode()
    assert parts[".initrd"].startswith(b"\x28\xb5\x2f\xfd")


def test_that_of_the_root_as_it_is(stub: bytes, tmp_path: Path) -> None:
    entries = {**ROOT, STUB: stub, "boot/efi/EFI/Linux/a.efi": b"MZ of the root"}
    assert made(tmp_path, entries).read_bytes() == b"MZ of the root"


def test_what_is_refused(stub: bytes, tmp_path: Path) -> None:
    with pytest.raises(RootNotBootable, match="uki: the root has no kernel"):
        made(tmp_path, {STUB: stub})
    with pytest.raises(RootNotBootable, match="nor systemd-stub") as caught:
        made(tmp_path, ROOT)
    assert "systemd-boot-efi" in caught.value.hint
