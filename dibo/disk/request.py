"""What artefacts are wished for, and what can be refused before anything is read or built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dibo.artefacts.converter import Converter
from dibo.artefacts.outputs import check_output_files, check_output_name
from dibo.artefacts.provenance import ProvenanceRequest
from dibo.boot.options import BootLoader
from dibo.disk.built_in.table import BUILT_IN, NOT_WITH_A_KIT, OPTION_CHECKS, STREAMED
from dibo.disk.filesystem_strategy import ELDERS, Choice, Way, choose_way
from dibo.disk.loop.check import check as check_loop
from dibo.disk.loop.mkfs import TYPES as LOOP_TYPES
from dibo.errors import ConverterError, LayoutError, LoopError, ToolMissing, UsageError
from dibo.formats.open_target import TYPES as DISK_TYPES
from dibo.formats.open_target import qcow2_compression
from dibo.images.layers.limits import Limits
from dibo.layout.model import ROOT, FileSystemType, Headroom, Layout, Partition, Sizing
from dibo.layout.placement import place, smallest_disk
from dibo.system import process
from dibo.system.package_names import how_to_install
from dibo.system.report import Report

TYPES: Final = ("ext4", *ELDERS)
"""File systems for a root: the first by dibo's own writer, the others by mke2fs."""
BY_KERNEL: Final = (FileSystemType.EXT4, FileSystemType.XFS, FileSystemType.BTRFS)
"""What is made, on a loop device, by mkfs and mount."""
BARE_LABEL: Final = "cloudimg-rootfs"
MICROVM: Final = "microvm"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRequest:
    """What artefacts are wished for, of whichever root. Sizes in bytes."""

    output: Path
    """The path without the type."""
    converters: tuple[Converter, ...]
    layout: Layout | None
    """None makes a bare file system."""
    layout_given: bool = True
    """Whether the layout is one for this root: from flavours, the image itself, or the user."""
    layout_of_a_file: bool = False
    """Whether a file of the user's said so."""
    bare_label: str = BARE_LABEL
    """Of the root file system, where it is bare."""
    bare_headroom: Headroom | None = None
    """What a bare file system leaves free beside its files; None where `size` counts."""
    filesystem: str
    """The root's, where it is bare; of an ext4 root in a layout, which of the ext family it is."""
    size: int
    size_set_by: str
    architecture: str
    options: Mapping[str, str]
    """Variables for converters."""
    limits: Limits = field(default_factory=Limits)
    """What a root may hold at most."""
    checksums: bool = True
    """Whether `NAME.sha256` goes beside each artefact."""
    md5: bool = False
    """Whether `NAME.md5` does."""
    mkfs_options: tuple[str, ...] = ()
    """Words for mke2fs, which makes the root file system where there are any."""
    loop: bool = False
    """Whether the user requested a loop device."""
    loader: BootLoader = BootLoader.AUTO
    """The boot loader of a root that dibo did not prepare."""
    provenance: ProvenanceRequest | None = None
    """Whether a statement of their provenance goes beside them, which needs their checksums."""
    sign: Callable[[bytes], bytes] | None = None
    """Signs what firmware starts, where dibo makes it."""

    def path(self, kind: str) -> Path:
        return next(
            (ending(self.output, converter) for converter in self.converters if converter.type == kind),
            output_path(self.output, kind),
        )

    @property
    def paths(self) -> tuple[Path, ...]:
        """Of all artefacts."""
        return tuple(self.path(converter.type) for converter in self.converters)

    @property
    def manifest(self) -> Path:
        """Where the manifest goes: `web.qcow2` and `web` give `web.manifest.json`."""
        return self.output.with_name(f"{self.stem}.manifest.json")

    @property
    def stem(self) -> str:
        """The output's name without a type."""
        name = self.output.name
        kinds = [kind.ending for kind in self.converters if name.endswith(f".{kind.ending}")]
        return name.removesuffix(f".{max(kinds, key=len)}") if kinds else name

    @property
    def unit(self) -> int:
        """Bytes that the size of the disk is a multiple of, for all types: each divides the next."""
        return max((converter.unit for converter in self.converters if converter.has_disk), default=1)

    @property
    def may_end_early(self) -> bool:
        """Whether GRUB with a kernel and its initramfs is all that a disk needs."""
        return self.loader in (BootLoader.AUTO, BootLoader.GRUB) and self.sign is None

    @property
    def has_disk(self) -> bool:
        """Whether any artefact is a disk, or is made of one."""
        return any(converter.has_disk for converter in self.converters)

    @property
    def root_type(self) -> str:
        return root_type(self.layout, self.filesystem)


def output_path(output: Path, kind: str) -> Path:
    """`web` and qcow2 give `web.qcow2`; a name that ends in the type already is taken as it is."""
    return output if output.name.endswith(f".{kind}") else output.with_name(f"{output.name}.{kind}")


def ending(output: Path, converter: Converter) -> Path:
    return output_path(output, converter.ending)


def root_type(layout: Layout | None, filesystem: str) -> str:
    """`filesystem` decides for a bare file system, and between those of the ext family on a disk."""
    kind = layout.root.filesystem if layout is not None else None
    if kind is None or (kind is FileSystemType.EXT4 and filesystem in TYPES):
        return filesystem
    return kind.value


def check_filesystem(layout: Layout | None, filesystem: str, *, set_by: str | None) -> None:
    """Refuse a root file system that dibo does not know, and one that contradicts the layout. `set_by` says who named
    it, None for dibo's default. Raises LayoutError."""
    if filesystem not in LOOP_TYPES:
        raise LayoutError(
            f"dibo cannot make the file system {filesystem!r}", hint=f"use one of {', '.join(TYPES)}"
        )
    if layout is None or set_by is None:
        return
    made = root_type(layout, filesystem)
    if made != filesystem:
        raise LayoutError(
            f"{set_by} is {filesystem}, and the layout makes the partition {layout.root.name} {made}",
            hint=f"leave out {set_by}, or write `filesystem: {filesystem}` for that partition in a layout of your own"
            " (--layout)",
        )


def check_outputs(output: Path, converters: tuple[Converter, ...]) -> None:
    """Refuse names that cannot be written. Raises UsageError, OutputError."""
    check_output_name(output)
    check_output_files(
        [ending(output, converter) for converter in converters if not converter.makes_directory],
        directories=[ending(output, converter) for converter in converters if converter.makes_directory],
    )


def check_request(request: DiskRequest) -> None:
    """What can be refused before anything is built. Raises UsageError, OutputError, ToolMissing, LayoutError."""
    check_outputs(request.output, request.converters)
    qcow2_compression(request.options)
    for converter in request.converters:
        if not converter.command and converter.type not in (*DISK_TYPES, *BUILT_IN, *STREAMED):
            raise ConverterError(
                f"the converter {converter.type} has no command, and dibo does not make that type itself",
                hint=f"add one in {converter.path / 'converter.yaml'}",
            )
        if not converter.command and converter.type in OPTION_CHECKS:
            OPTION_CHECKS[converter.type](request.options)
        for tool in converter.tools:
            if process.find(tool) is None:
                raise ToolMissing(
                    f"{tool} is not installed, and {converter.type} needs it", hint=how_to_install(tool)
                )
    if request.has_disk:
        check_disk(request, request.layout, loop=request.loop)
    elif request.loop:
        raise UsageError(
            f"--loop makes disks, and none of {', '.join(kind.type for kind in request.converters)} is one",
            hint="leave out --loop, or add a type: -t raw,tar",
        )


def require_kit_type(request: DiskRequest) -> None:
    """Raises UsageError where nothing that is made could boot with a kit, and for types that need what no kit has."""
    types = [converter.type for converter in request.converters]
    for converter in request.converters:
        if not converter.command and converter.type in NOT_WITH_A_KIT:
            raise UsageError(
                f"{converter.type} cannot be made with a kit: {NOT_WITH_A_KIT[converter.type]}",
                hint=f"use a disk or {MICROVM}, or build on the image: disk-image-create --base IMAGE vm",
            )
    if not request.has_disk and MICROVM not in types:
        raise UsageError(
            f"a kit is for disks and {MICROVM}, and -t asks for neither: {', '.join(types)}",
            hint=f"add a disk, as in -t qcow2,{types[0]}, or leave --kit out",
        )


def check_made_before(request: DiskRequest, owner: str, report: Report) -> None:
    """Boot files that a root or a kit brings along, the `owner`, are GRUB's, and stay as they are. Raises UsageError
    for options that ask for others."""
    if request.loader not in (BootLoader.AUTO, BootLoader.GRUB):
        raise UsageError(
            f"--boot {request.loader.value} is not possible: {owner} has its boot files already, with GRUB",
            hint="leave --boot out: it is for images that dibo makes boot files for",
        )
    if request.sign is not None:
        report.warn(f"{owner} has its boot files already: --secure-boot-key does not sign them")


def check_disk(request: DiskRequest, layout: Layout | None, *, loop: bool) -> None:
    """Refuse a disk with this layout that cannot be made here. Raises LayoutError, ToolMissing, LoopError."""
    kind = root_type(layout, request.filesystem)
    if request.mkfs_options and (loop or kind not in TYPES):
        raise LayoutError(
            "options for mkfs are for an ext4, ext3 or ext2 root that is made without a loop device",
            hint="leave out --mkfs-options and --mkfs-journal-size, or --loop and the other file system",
        )
    if loop:
        check_loop([kind, *_others(layout)], label="" if layout is not None else request.bare_label)
    elif layout is None or layout.root.filesystem is FileSystemType.EXT4:
        _check_ext(kind, options=bool(request.mkfs_options))
    if layout is None:
        return
    _check_sector(request, layout)
    size = smallest_disk(layout, {}) if layout.size is Sizing.FIT else request.size
    place(layout, size=size, identity="", architecture=request.architecture)
    for partition in layout.partitions:
        choice = choice_of(partition, layout, request, loop=loop)
        if choice is not None and choice.way is Way.PROGRAM and process.find(choice.program) is None:
            raise ToolMissing(
                f"{choice.program} is not installed, and the partition {partition.name} needs it",
                hint=how_to_install(choice.program),
            )


def _check_sector(request: DiskRequest, layout: Layout) -> None:
    for converter in request.converters:
        if converter.has_disk and converter.sector not in (0, layout.sector):
            raise LayoutError(
                f"{converter.type} is read in sectors of {converter.sector} bytes, and the layout has"
                f" `sector: {layout.sector}`",
                hint=f"write `sector: {converter.sector}` in the layout, or leave out -t {converter.type}",
            )


def _check_ext(kind: str, *, options: bool) -> None:
    if kind not in TYPES:
        hint = f"use one of {', '.join(TYPES)}"
        if kind in LOOP_TYPES:
            raise LayoutError(
                f"dibo cannot make the file system {kind!r} without root",
                hint=f"{hint}; or --loop, as root, which makes it on a loop device",
            )
        raise LayoutError(f"dibo cannot make the file system {kind!r}", hint=hint)
    if (kind != "ext4" or options) and process.find("mke2fs") is None:
        reason = "options for mkfs need" if options else f"{kind} needs"
        raise ToolMissing(f"mke2fs is not installed, and {reason} it", hint=how_to_install("mke2fs"))


def _others(layout: Layout | None) -> list[str]:
    """The file systems besides the root's that a loop device is needed for."""
    partitions = layout.partitions if layout is not None else ()
    return [
        partition.filesystem.value
        for partition in partitions
        if partition.filesystem in BY_KERNEL and partition.mount != ROOT
    ]


def choice_of(
    partition: Partition,
    layout: Layout | None,
    request: DiskRequest,
    *,
    directory: bool = True,
    loop: bool = False,
) -> Choice | None:
    """Who makes the file system of a partition; None where nothing is made. `directory` says whether the root is to be
    had in one."""
    is_root = layout is None or partition is layout.root
    kind = root_type(layout, request.filesystem) if is_root else ""
    options = bool(request.mkfs_options)
    return choose_way(partition, filesystem=kind, directory=directory, loop=loop, options=options)


def needs_directory(request: DiskRequest, *, loop: bool) -> bool:
    """Whether the root is needed in a directory, besides its layers."""
    if not request.has_disk:
        return False
    if request.layout is None:
        return (request.root_type != "ext4" or bool(request.mkfs_options)) and not loop
    choices = [
        choice_of(partition, request.layout, request, loop=loop) for partition in request.layout.partitions
    ]
    return any(choice is not None and choice.needs_directory for choice in choices)


def decide_loop(request: DiskRequest, *, directory: bool, report: Report) -> bool:
    """Whether the disk is made on a loop device: if the user requests it, or if no other method works, which is
    reported. `directory` says whether the root is to be had in one. Raises LoopError where that needs root, LayoutError
    for a root that neither way makes, ToolMissing."""
    if request.loop or not request.has_disk:
        return request.loop
    if not directory and (request.root_type in ELDERS or request.mkfs_options):
        options = " with options for mkfs" if request.mkfs_options else ""
        raise LayoutError(
            f"{request.root_type}{options} is made from a directory, and the root is not in one",
            hint="use ext4, or build with the engine buildah on this machine",
        )
    for partition in request.layout.partitions if request.layout is not None else ():
        choice = choice_of(partition, request.layout, request, directory=directory)
        if choice is not None and choice.way is Way.LOOP:
            require_loop(request, f"{partition.name}: {choice.reason}", report)
            return True
    return False


def require_loop(request: DiskRequest, reason: str, report: Report) -> None:
    """Say that a loop device is needed, since nothing less will do. Raises LoopError, ToolMissing, LayoutError."""
    try:
        check_disk(request, request.layout, loop=True)
    except LoopError as error:
        raise LoopError(f"the disk needs a loop device. {reason}", hint=error.hint) from error
    report.say(f"a loop device is needed. {reason}")
