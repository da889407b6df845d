"""QEMU's firmware descriptors: which one counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dibo.errors import MachineError
from dibo.machines.boards import FirmwareKind, board_of
from dibo.machines.firmware import descriptor_directories, find_firmware
from dibo.system import package_names

AMD64 = board_of("amd64")


def descriptor(files: Path, name: str, *features: str, machine: str = "pc-q35-*") -> dict[str, Any]:
    """One of flash memory, whose files exist."""
    for part in ("code", "vars"):
        (files / f"{name}.{part}").write_bytes(b"firmware")
    return {
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": str(files / f"{name}.code"), "format": "raw"},
            "nvram-template": {"filename": str(files / f"{name}.vars"), "format": "raw"},
        },
        "targets": [{"architecture": "x86_64", "machines": [machine]}],
        "features": list(features),
    }


def found_name(directories: list[Path], kind: FirmwareKind) -> str:
    files = find_firmware(AMD64, "q35", kind, directories=directories)
    assert files.code is not None
    return files.code.stem


@pytest.fixture
def distribution(tmp_path: Path) -> Path:
    directory = tmp_path / "distribution"
    directory.mkdir()
    for name, entry in {
        "40-keys": descriptor(tmp_path, "keys", "secure-boot", "enrolled-keys", "requires-smm"),
        "50-no-keys": descriptor(tmp_path, "no-keys", "secure-boot", "requires-smm"),
        "60-plain": descriptor(tmp_path, "plain"),
        "10-microvm": descriptor(tmp_path, "microvm", machine="microvm"),
    }.items():
        (directory / f"{name}.json").write_text(json.dumps(entry))
    (directory / "05-damaged.json").write_text('{"interface-types": ["uefi"]')
    (directory / "06-list.json").write_text("[]")
    (directory / "07-odd.json").write_text('{"interface-types": ["uefi"], "targets": {}, "mapping": []}')
    return directory


def test_features_decide(distribution: Path) -> None:
    """Of those without keys, the one without system management mode."""
    assert found_name([distribution], FirmwareKind.UEFI) == "plain"
    files = find_firmware(AMD64, "q35", FirmwareKind.SECURE_BOOT, directories=[distribution])
    assert files.needs_smm
    assert files.code is not None
    assert files.code.stem == "keys"


def test_the_users_directory_counts_first(distribution: Path, tmp_path: Path) -> None:
    """A file hides those of the same name; an empty one hides them altogether."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "60-plain.json").write_text(json.dumps(descriptor(tmp_path, "mine")))
    assert found_name([own, distribution], FirmwareKind.UEFI) == "mine"
    (own / "60-plain.json").write_text("")
    assert found_name([own, distribution], FirmwareKind.UEFI) == "no-keys"


def test_a_file_that_is_not_there(distribution: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.code").unlink()
    assert found_name([distribution], FirmwareKind.UEFI) == "no-keys"


def test_places() -> None:
    home = Path("/home/user/.config/qemu/firmware")
    assert descriptor_directories({"HOME": "/home/user"})[0] == home
    assert descriptor_directories({"XDG_CONFIG_HOME": "/x"})[0] == Path("/x/qemu/firmware")


@pytest.mark.parametrize(
    ("system", "advice"),
    [("ID=debian", "apt-get install qemu-efi-arm"), ("ID=fedora", "dnf install edk2-arm")],
)
def test_no_firmware(system: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package of this distribution."""
    release = tmp_path / "os-release"
    release.write_text(system)
    monkeypatch.setattr(package_names, "OS_RELEASE", release)
    with pytest.raises(MachineError, match="no UEFI firmware for armhf") as caught:
        find_firmware(board_of("armhf"), "virt", FirmwareKind.UEFI, directories=[])
    assert advice in caught.value.hint


def test_a_kind_that_the_architecture_has_not() -> None:
    with pytest.raises(MachineError, match="secure-boot is no firmware"):
        find_firmware(board_of("riscv64"), "virt", FirmwareKind.SECURE_BOOT, directories=[])
