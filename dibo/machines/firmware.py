"""Which firmware is installed here, by QEMU's own descriptors, else at the places of distributions.

    $XDG_CONFIG_HOME/qemu/firmware   the user's (~/.config)           each directory hides files of the same name
    /etc/qemu/firmware               the administrator's              in the ones below; an empty file hides one
    /usr/share/qemu/firmware         the distribution's               altogether; the first name that fits counts

    {"interface-types": ["uefi"],
     "mapping": {"device": "flash", "executable": {"filename", "format"}, "nvram-template": {"filename", "format"}},
     "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
     "features": ["secure-boot", "enrolled-keys", "requires-smm", …]}

QEMU's firmware.json, in its documents on interoperability. Debian's AAVMF for 32 bits, and U-Boot, have no descriptors.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from dibo.errors import MachineError
from dibo.machines.boards import Board, FirmwareKind
from dibo.machines.machine import FirmwareFiles
from dibo.system.package_names import how_to_install_package

_SYSTEM: Final = (Path("/etc/qemu/firmware"), Path("/usr/share/qemu/firmware"))
_FULL_NAMES: Final = {"q35": "pc-q35-9.0", "pc": "pc-i440fx-9.0", "virt": "virt-9.0"}
"""A versioned machine, which patterns of descriptors are for, by its alias."""
_LARGEST: Final = 1 << 16

_UBOOT: Final = {
    # The loader runs in S mode, above OpenSBI, which QEMU brings.
    "riscv64": (
        "kernel",
        ("/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf", "/usr/share/uboot/qemu-riscv64_smode/u-boot.bin"),
    ),
    "arm64": ("memory", ("/usr/lib/u-boot/qemu_arm64/u-boot.bin", "/usr/share/uboot/qemu_arm64/u-boot.bin")),
    "armhf": ("memory", ("/usr/lib/u-boot/qemu_arm/u-boot.bin",)),
}
_OVMF: Final = (
    "/usr/share/OVMF",
    "/usr/share/edk2/ovmf",
    "/usr/share/edk2/x64",
    "/usr/share/edk2-ovmf/x64",
    "/usr/share/qemu",
)
_WITHOUT_DESCRIPTOR: Final = {
    ("amd64", FirmwareKind.UEFI): tuple(
        (f"{place}/OVMF_CODE{size}.fd", f"{place}/OVMF_VARS{size}.fd")
        for place in _OVMF
        for size in ("_4M", ".4m", "")
    ),
    ("amd64", FirmwareKind.SECURE_BOOT): tuple(
        (f"{place}/OVMF_CODE{code}.fd", f"{place}/OVMF_VARS{variables}.fd")
        for place in _OVMF
        for code, variables in (("_4M.ms", "_4M.ms"), (".secboot", ".secboot"))
    ),
    ("arm64", FirmwareKind.UEFI): (
        ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
        ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
    ),
    ("armhf", FirmwareKind.UEFI): (("/usr/share/AAVMF/AAVMF32_CODE.fd", "/usr/share/AAVMF/AAVMF32_VARS.fd"),),
    ("riscv64", FirmwareKind.UEFI): (
        ("/usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd", "/usr/share/qemu-efi-riscv64/RISCV_VIRT_VARS.fd"),
        ("/usr/share/edk2/riscv/RISCV_VIRT_CODE.fd", "/usr/share/edk2/riscv/RISCV_VIRT_VARS.fd"),
    ),
}
_PACKAGES: Final = {
    "amd64": ("ovmf", "edk2-ovmf"),
    "i386": ("ovmf-ia32", "edk2-ovmf-ia32"),
    "arm64": ("qemu-efi-aarch64", "edk2-aarch64"),
    "armhf": ("qemu-efi-arm", "edk2-arm"),
    "riscv64": ("qemu-efi-riscv64", "edk2-riscv64"),
}
"""Of UEFI, by architecture: Debian's and Fedora's."""


def descriptor_directories(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where descriptors are, the first ones of most weight."""
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '/')}/.config"
    return (Path(home) / "qemu/firmware", *_SYSTEM)


def find_firmware(
    board: Board, machine: str, kind: FirmwareKind, *, directories: Sequence[Path]
) -> FirmwareFiles:
    """The files of a firmware of that kind, `variables` as they are delivered. Raises MachineError."""
    if kind in (FirmwareKind.BIOS, FirmwareKind.BUILT_IN, FirmwareKind.NONE):
        return FirmwareFiles(kind=kind)
    if kind not in board.firmware:
        expected = ", ".join(fitting.value for fitting in board.firmware)
        raise MachineError(
            f"{kind.value} is no firmware of machines for {board.architecture}", hint=f"expected {expected}"
        )
    candidates = _uboot(board) if kind is FirmwareKind.UBOOT else _uefi(board, machine, kind, directories)
    for files in candidates:
        if all(path is None or path.is_file() for path in (files.code, files.variables)):
            return files
    raise _missing(board, kind)


def with_own_variables(firmware: FirmwareFiles, copy: Path) -> FirmwareFiles:
    """With a copy of the variables, which the machine writes to. Raises MachineError."""
    if firmware.variables is None:
        return firmware
    try:
        shutil.copyfile(firmware.variables, copy)
    except OSError as error:
        raise MachineError(f"cannot copy {firmware.variables}: {error.strerror}") from error
    return replace(firmware, variables=copy)


def _uboot(board: Board) -> Iterator[FirmwareFiles]:
    device, paths = _UBOOT.get(board.architecture, ("memory", ()))
    for path in paths:
        yield FirmwareFiles(kind=FirmwareKind.UBOOT, device=device, code=Path(path))


def _uefi(
    board: Board, machine: str, kind: FirmwareKind, directories: Sequence[Path]
) -> Iterator[FirmwareFiles]:
    fitting = [
        descriptor
        for descriptor in _descriptors(directories)
        if _is_for(descriptor, board, machine) and _is_of_kind(descriptor, kind)
    ]
    # One that needs no system management mode starts faster, and is enough where nothing is checked.
    if kind is FirmwareKind.UEFI:
        fitting.sort(key=lambda descriptor: "secure-boot" in _features(descriptor))
    yield from (files for descriptor in fitting if (files := _files(descriptor, kind)) is not None)
    for code, variables in _WITHOUT_DESCRIPTOR.get((board.architecture, kind), ()):
        yield FirmwareFiles(
            kind=kind,
            device="flash",
            code=Path(code),
            variables=Path(variables),
            needs_smm=kind is FirmwareKind.SECURE_BOOT and board.architecture == "amd64",
        )


def _descriptors(directories: Sequence[Path]) -> Iterator[Mapping[str, Any]]:
    """In the order of their names. What is not valid is left out, as QEMU's document asks of its readers."""
    by_name: dict[str, Path] = {}
    for directory in reversed(directories):
        try:
            by_name |= {path.name: path for path in directory.glob("*.json")}
        except OSError:
            continue
    for _, path in sorted(by_name.items()):
        try:
            if 0 < path.stat().st_size <= _LARGEST:
                descriptor = json.loads(path.read_bytes())
                if isinstance(descriptor, dict):
                    yield descriptor
        except (OSError, ValueError):
            continue


def _is_for(descriptor: Mapping[str, Any], board: Board, machine: str) -> bool:
    name = _FULL_NAMES.get(machine, machine)
    for target in _dicts(descriptor.get("targets")):
        machines = [str(pattern) for pattern in target.get("machines") or ()]
        if target.get("architecture") == board.qemu_name and any(
            fnmatch.fnmatchcase(name, pattern) for pattern in machines
        ):
            return True
    return False


def _is_of_kind(descriptor: Mapping[str, Any], kind: FirmwareKind) -> bool:
    if "uefi" not in (descriptor.get("interface-types") or ()):
        return False
    enrolled = "enrolled-keys" in _features(descriptor)
    return enrolled if kind is FirmwareKind.SECURE_BOOT else not enrolled


def _features(descriptor: Mapping[str, Any]) -> Sequence[str]:
    return [str(feature) for feature in descriptor.get("features") or ()]


def _files(descriptor: Mapping[str, Any], kind: FirmwareKind) -> FirmwareFiles | None:
    """What a descriptor maps; None where it is not understood."""
    mapping = descriptor.get("mapping")
    if not isinstance(mapping, dict):
        return None
    needs_smm = "requires-smm" in _features(descriptor)
    if mapping.get("device") == "memory" and isinstance(mapping.get("filename"), str):
        return FirmwareFiles(kind=kind, device="memory", code=Path(mapping["filename"]), needs_smm=needs_smm)
    code, variables = mapping.get("executable"), mapping.get("nvram-template")
    if mapping.get("device") != "flash" or not isinstance(code, dict) or "filename" not in code:
        return None
    template = variables if isinstance(variables, dict) and "filename" in variables else None
    return FirmwareFiles(
        kind=kind,
        device="flash",
        code=Path(str(code["filename"])),
        code_format=_format(code),
        variables=None if template is None else Path(str(template["filename"])),
        variables_format=_format(template or {}),
        needs_smm=needs_smm,
    )


def _format(file: Mapping[str, Any]) -> str:
    return "qcow2" if file.get("format") == "qcow2" else "raw"


def _dicts(values: object) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _missing(board: Board, kind: FirmwareKind) -> MachineError:
    if kind is FirmwareKind.UBOOT:
        advice = how_to_install_package("U-Boot", debian="u-boot-qemu", fedora="uboot-images-armv8")
        return MachineError(f"there is no U-Boot for {board.architecture}", hint=advice)
    debian, fedora = _PACKAGES[board.architecture]
    keys = " with keys for Secure Boot" if kind is FirmwareKind.SECURE_BOOT else ""
    advice = how_to_install_package("UEFI firmware", debian=debian, fedora=fedora)
    return MachineError(f"there is no UEFI firmware{keys} for {board.architecture}", hint=advice)
