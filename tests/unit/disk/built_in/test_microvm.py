"""The directory for monitors of microVMs: what is in it, and configurations by the published schemas.

The schemas are written down from Firecracker's src/firecracker/swagger/firecracker.yaml (BootSource, Drive,
MachineConfiguration, FullVmConfiguration; the keys of a configuration file have a hyphen) and from cloud-hypervisor's
vmm/src/api/openapi/cloud-hypervisor.yaml (VmConfig), with additional keys refused.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import zstandard

from dibo.disk.built_in.job import ConversionJob
from dibo.disk.built_in.microvm import make_microvm
from dibo.errors import ConverterError, ImageTooSmall, RootNotBootable, UsageError
from dibo.formats.vm_disks.identity import NO_IDENTITY
from dibo.tree.node import Node
from dibo.tree.query import find
from dibo.units import MIB
from tests.support.kernel_images import IMAGE, VMLINUX, bzimage
from tests.support.node_trees import Content, Program
from tests.support.readers.erofs_reader import ErofsReader
from tests.support.requirements import need
from tests.support.schemas import validate
from tests.support.spooled_trees import spooled

FSTAB = b"LABEL=root / ext4 defaults 0 1\n/dev/disk/by-label/UEFI /boot/efi vfat\n# note\ntmpfs /tmp tmpfs\n"
ROOT: dict[str, Content | Node] = {
    "boot/vmlinuz-6.1.0-cloud": bzimage(gzip.compress(VMLINUX), size=None),
    "boot/initrd.img-6.1.0-cloud": b"an initramfs",
    "etc/fstab": FSTAB,
    "bin/program": b"\x7fELF" * 5000,
    "bin/link": "program",
}


def strict(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


TEXT, NUMBER, BOOLEAN = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
FIRECRACKER = strict(
    ["boot-source", "drives"],
    **{
        "boot-source": strict(
            ["kernel_image_path"], boot_args=TEXT, initrd_path=TEXT, kernel_image_path=TEXT
        ),
        "drives": {
            "type": "array",
            "items": strict(
                ["drive_id", "is_root_device"],
                drive_id=TEXT,
                partuuid=TEXT,
                is_root_device=BOOLEAN,
                cache_type={"enum": ["Unsafe", "Writeback"]},
                is_read_only=BOOLEAN,
                path_on_host=TEXT,
                io_engine={"enum": ["Sync", "Async"]},
            ),
        },
        "machine-config": strict(
            ["mem_size_mib", "vcpu_count"],
            cpu_template=TEXT,
            smt=BOOLEAN,
            mem_size_mib=NUMBER,
            track_dirty_pages=BOOLEAN,
            vcpu_count={"type": "integer", "minimum": 1, "maximum": 32},
        ),
    },
)
CONSOLE = strict(["mode"], file=TEXT, mode={"enum": ["Off", "Pty", "Tty", "File", "Socket", "Null"]})
CLOUD_HYPERVISOR = strict(
    ["payload"],
    payload=strict([], firmware=TEXT, kernel=TEXT, cmdline=TEXT, initramfs=TEXT),
    cpus=strict(
        ["boot_vcpus", "max_vcpus"],
        boot_vcpus={"type": "integer", "minimum": 1},
        max_vcpus={"type": "integer", "minimum": 1},
    ),
    memory=strict(["size"], size=NUMBER),
    disks={
        "type": "array",
        "items": strict(
            [],
            path=TEXT,
            readonly=BOOLEAN,
            image_type={"enum": ["FixedVhd", "Qcow2", "Raw", "Vhdx", "Unknown"]},
        ),
    },
    serial=CONSOLE,
    console=CONSOLE,
)


def made(
    directory: Path,
    entries: dict[str, Content | Node],
    *,
    options: dict[str, str] | None = None,
    architecture: str = "amd64",
    size: int = 32 * MIB,
) -> tuple[Path, list[str]]:
    """The directory, and what dibo warned of."""
    directory.mkdir()
    warnings: list[str] = []
    make_microvm(
        ConversionJob(
            target=directory,
            name="web",
            architecture=architecture,
            size=size,
            identity=NO_IDENTITY,
            options=options or {},
            root=spooled(entries),
            warn=warnings.append,
        )
    )
    return directory, warnings


def configuration(directory: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((directory / name).read_text())
    return document


def test_what_is_in_it(tmp_path: Path) -> None:
    directory, warnings = made(tmp_path / "vm", ROOT)
    assert sorted(path.name for path in directory.iterdir()) == [
        *("cloud-hypervisor.json", "firecracker.json", "initrd", "qemu.sh", "root.ext4", "vmlinux"),
    ]
    assert (directory / "vmlinux").read_bytes() == VMLINUX
    assert (directory / "initrd").read_bytes() == b"an initramfs"
    assert warnings == []


def test_the_configurations(tmp_path: Path) -> None:
    options = {"DIBO_MICROVM_CPUS": "2", "DIBO_MICROVM_MEMORY": "128"}
    directory, _ = made(tmp_path / "vm", ROOT, options=options)
    firecracker = configuration(directory, "firecracker.json")
    hypervisor = configuration(directory, "cloud-hypervisor.json")
    validate(firecracker, FIRECRACKER)
    validate(hypervisor, CLOUD_HYPERVISOR)
    assert firecracker["machine-config"] == {"vcpu_count": 2, "mem_size_mib": 128}
    assert hypervisor["memory"] == {"size": 128 * MIB}
    assert "root=" not in firecracker["boot-source"]["boot_args"], "Firecracker adds it for the root device"
    assert "root=/dev/vda rw" in hypervisor["payload"]["cmdline"]
    named = {
        firecracker["boot-source"]["kernel_image_path"],
        firecracker["boot-source"]["initrd_path"],
        firecracker["drives"][0]["path_on_host"],
        hypervisor["payload"]["kernel"],
        hypervisor["payload"]["initramfs"],
        hypervisor["disks"][0]["path"],
    }
    assert named <= {path.name for path in directory.iterdir()}


def test_the_script(tmp_path: Path) -> None:
    directory, _ = made(tmp_path / "vm", ROOT)
    script = directory / "qemu.sh"
    assert script.stat().st_mode & 0o111
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "qemu-system-x86_64"
    fake.write_text('#!/bin/sh\npwd; printf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    path = {"APPEND": "quiet", "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    done = subprocess.run([script, "-S"], env=path, capture_output=True, text=True, check=True)
    words = done.stdout.splitlines()
    assert words[:3] == [str(directory), "-M", "microvm,rtc=on"]
    assert words[words.index("-append") + 1] == "console=ttyS0 reboot=k panic=1 root=/dev/vda rw quiet"
    assert words[-1] == "-S"


def test_a_root_without_initramfs(tmp_path: Path) -> None:
    entries = {path: content for path, content in ROOT.items() if "initrd" not in path}
    directory, warnings = made(tmp_path / "vm", entries)
    assert not (directory / "initrd").exists()
    assert "initrd" not in (directory / "qemu.sh").read_text()
    assert "initrd_path" not in configuration(directory, "firecracker.json")["boot-source"]
    assert "has no initramfs" in warnings[0]
    assert "built into the kernel" in warnings[0]


def test_an_initramfs_that_is_made(tmp_path: Path) -> None:
    need("busybox")
    busybox = shutil.which("busybox")
    assert busybox is not None
    entries = {path: content for path, content in ROOT.items() if "initrd" not in path}
    directory, warnings = made(
        tmp_path / "vm", {**entries, "bin/busybox": Program(Path(busybox).read_bytes())}
    )
    assert warnings == []
    made_initrd = zstandard.ZstdDecompressor().decompressobj().decompress((directory / "initrd").read_bytes())
    assert made_initrd.startswith(b"070701")
    assert b"switch_root" in made_initrd


def test_a_root_that_is_only_read(tmp_path: Path) -> None:
    need("busybox")
    busybox = shutil.which("busybox")
    assert busybox is not None
    entries = {**ROOT, "bin/busybox": Program(Path(busybox).read_bytes())}
    directory, warnings = made(tmp_path / "vm", entries, options={"DIBO_MICROVM_ROOT": "erofs"}, size=MIB)
    assert warnings == []
    assert (directory / "initrd").read_bytes() != b"an initramfs", "that of the root mounts no overlay"
    firecracker = configuration(directory, "firecracker.json")
    hypervisor = configuration(directory, "cloud-hypervisor.json")
    validate(firecracker, FIRECRACKER)
    validate(hypervisor, CLOUD_HYPERVISOR)
    assert (
        firecracker["drives"][0] | {"path_on_host": "root.erofs", "is_read_only": True}
        == firecracker["drives"][0]
    )
    assert "overlayroot=tmpfs" in firecracker["boot-source"]["boot_args"].split()
    assert hypervisor["disks"] == [{"path": "root.erofs", "image_type": "Raw", "readonly": True}]
    assert hypervisor["payload"]["cmdline"].endswith("overlayroot=tmpfs root=/dev/vda ro")
    script = (directory / "qemu.sh").read_text()
    assert "file=root.erofs,format=raw,if=none,readonly=on" in script
    assert "overlayroot=tmpfs root=/dev/vda ro " in script

    image = (directory / "root.erofs").read_bytes()
    reader = ErofsReader(lambda offset, size: image[offset : offset + size])
    fstab = find(reader.tree(), "/etc/fstab")
    assert fstab is not None
    assert isinstance(fstab.content, dict)
    assert fstab.content[0][: fstab.size] == b"# note\ntmpfs /tmp tmpfs\n"


def test_an_overlay_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(RootNotBootable, match="needs an initramfs that dibo makes") as caught:
        made(tmp_path / "vm", ROOT, options={"DIBO_MICROVM_ROOT": "erofs"})
    assert "DIBO_MICROVM_ROOT=ext4" in caught.value.hint
    with pytest.raises(UsageError, match="DIBO_MICROVM_ROOT is 'xfs'") as unknown:
        made(tmp_path / "other", ROOT, options={"DIBO_MICROVM_ROOT": "xfs"})
    assert unknown.value.hint == "use one of ext4, erofs"


def test_arm64(tmp_path: Path) -> None:
    entries = {**ROOT, "boot/vmlinuz-6.1.0-cloud": IMAGE}
    directory, _ = made(tmp_path / "vm", entries, architecture="arm64")
    assert (directory / "vmlinux").read_bytes() == IMAGE
    assert "qemu-system-aarch64 -M virt" in (directory / "qemu.sh").read_text()
    assert "console=ttyAMA0" in (directory / "qemu.sh").read_text()


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RootNotBootable, match="has no kernel"):
        made(tmp_path / "none", {"etc/fstab": b""})
    with pytest.raises(ConverterError, match=r"/boot/vmlinuz-6.1.0-cloud is no kernel"):
        made(tmp_path / "other", {**ROOT, "boot/vmlinuz-6.1.0-cloud": b"text"})
    with pytest.raises(ConverterError, match="no monitor is known for s390x"):
        made(tmp_path / "s390x", ROOT, architecture="s390x")
    with pytest.raises(UsageError, match="DIBO_MICROVM_CPUS"):
        made(tmp_path / "cpus", ROOT, options={"DIBO_MICROVM_CPUS": "no"})
    large: dict[str, Content | Node] = {**ROOT, "large": bytes(range(1, 256)) * 100_000}
    with pytest.raises(ImageTooSmall, match="are missing") as caught:
        made(tmp_path / "large", large, size=16 * MIB)
    assert caught.value.enough > 16 * MIB
