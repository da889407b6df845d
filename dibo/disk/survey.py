"""Boot files of a root that dibo did not prepare, made before its disk: what it boots with is known after reading.

Mostly that is known early: layers are read from the highest on, and once a kernel, its initramfs and GRUB came by, the
disk can be made in one pass, as a prepared root's. For all else the layers are read to their end, the bytes of all that
boots kept in memory, and read again where an initramfs is to be made: for its modules, which are known only then.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from dibo.boot.boot_files import MANIFEST
from dibo.boot.find import find_boot_parts
from dibo.boot.initramfs import BytesMissing, is_program
from dibo.boot.keep import LIMIT, is_wanted
from dibo.boot.prepare_root import prepare
from dibo.boot.prepared import PreparedRoot
from dibo.disk.boot_preparation import boot_templates, boot_wish
from dibo.disk.plan import DiskSource
from dibo.disk.request import DiskRequest, check_made_before
from dibo.errors import RootNotBootable
from dibo.images.layers.load import LoadOptions, load
from dibo.layout.model import Layout, PartitionContent
from dibo.system.report import Report
from dibo.tree.node import Node
from dibo.tree.query import find
from dibo.tree.sinks import Nowhere
from dibo.units import MIB

_MOST_READINGS: Final = 6
_BOOT_EFI: Final = PurePosixPath("/boot/efi")
_EFI: Final = PurePosixPath("/efi")
_STEP: Final = 64 * MIB


def with_boot_files(
    request: DiskRequest, source: DiskSource, report: Report, *, early: bool
) -> tuple[DiskRequest, DiskSource]:
    """The request and the source, with boot files where the root lacks them. With `early` the reading ends as soon as
    it is seen that the usual way will do. The default layout has its EFI system partition made large enough.

    Raises RootNotBootable, UsageError for a boot loader that the root cannot get, and what reading layers raises.
    """
    lacks_kernel: RootNotBootable | None = None
    root, prepared = Node(stat.S_IFDIR), None
    with report.task("boot files") as task:
        try:
            root, prepared = _read_and_prepare(request, source, report, early=early)
            task.note(prepared.summary if prepared is not None else "")
        except _Seen:
            pass
        except RootNotBootable as error:
            if not error.lacks_kernel:
                raise
            lacks_kernel = error
            task.note("no kernel")  # which is no failure where a kit brings one
    if lacks_kernel is not None:
        raise lacks_kernel
    if prepared is None:
        return request, source
    return _fitted(request, root, prepared), replace(source, prepared=prepared)


def _read_and_prepare(
    request: DiskRequest, source: DiskSource, report: Report, *, early: bool
) -> tuple[Node, PreparedRoot | None]:
    lookout = _Lookout() if early and request.may_end_early else None
    more: set[bytes] = set()

    def keep(path: bytes) -> bool:
        if lookout is not None:
            lookout.see(path)
        return is_wanted(path) or is_program(path) or path in more

    for _ in range(_MOST_READINGS):
        root = _read(request, source, report, keep)
        lookout = None
        if find(root, str(MANIFEST)) is not None:
            check_made_before(request, source.root.name, report)
            return root, None
        parts = find_boot_parts(root, architecture=request.architecture)
        try:
            return root, prepare(root, parts, boot_templates(), boot_wish(request, source))
        except BytesMissing as missing:
            more |= _paths_of(root, missing.nodes)
    raise RootNotBootable(
        f"no initramfs can be made: its programs need libraries that need libraries, over {_MOST_READINGS} levels",
        hint="install busybox in the image, which needs few others",
        preparable=True,
    )


def _read(request: DiskRequest, source: DiskSource, report: Report, keep: Callable[[bytes], bool]) -> Node:
    options = LoadOptions(
        limits=replace(request.limits, kept_bytes=max(LIMIT, request.limits.kept_bytes)),
        keep=keep,
        clamp=source.epoch if source.clamp else None,
        progress=report.progress,
    )
    return load(source.root.layers, Nowhere(), options).root


def _paths_of(root: Node, nodes: tuple[Node, ...]) -> set[bytes]:
    """All names of files, also those that a directory has by a merged /usr: layers may use either."""
    searched = {id(node) for node in nodes}
    paths: set[bytes] = set()
    todo: list[tuple[bytes, Node]] = [(b"", root)]
    while todo:
        above, directory = todo.pop()
        for name, node in (directory.children or {}).items():
            if node.children is not None:
                todo.append((above + name + b"/", node))
            elif id(node) in searched:
                paths |= {above + name, (above + name).removeprefix(b"usr/"), b"usr/" + above + name}
    return paths


class _Seen(Exception):
    """A root has boot files, or what the usual ones are made of: no layer further down counts."""


class _Lookout:
    """Looks at paths; raises _Seen once all of a kernel, an initramfs and GRUB came by, or a manifest."""

    def __init__(self) -> None:
        self._kinds: set[bytes] = set()

    def see(self, path: bytes) -> None:
        if path == bytes(MANIFEST.relative_to("/")):
            raise _Seen
        for kind in (b"boot/vmlinuz-", b"boot/init", b"usr/lib/grub/"):
            if path.startswith(kind):
                self._kinds.add(kind)
        if len(self._kinds) == 3:
            raise _Seen


def _fitted(request: DiskRequest, root: Node, prepared: PreparedRoot) -> DiskRequest:
    """The default layout, with an EFI system partition of the size and in the place that the root needs."""
    if request.layout is None or request.layout_given:
        return request
    partitions = tuple(
        replace(
            partition,
            size=max(partition.size, _esp_size(prepared))
            if isinstance(partition.size, int)
            else partition.size,
            mount=_esp_mount(root) if partition.mount == _BOOT_EFI else partition.mount,
        )
        if partition.content is PartitionContent.ESP
        else partition
        for partition in request.layout.partitions
    )
    layout: Layout = replace(request.layout, partitions=partitions)
    return replace(request, layout=layout)


def _esp_size(prepared: PreparedRoot) -> int:
    """Room for what there is, and for two more kernels, which an upgrade adds before it removes one."""
    boot = prepared.boot
    size = sum(map(len, boot.esp.values()))
    size += sum(len(kernel.stub) + sum(map(len, kernel.parts.values())) for kernel in boot.unified.values())
    return -(-3 * size // _STEP) * _STEP


def _esp_mount(root: Node) -> PurePosixPath:
    """/efi where the root has that directory and not the other."""
    efi = find(root, str(_EFI))
    is_there = efi is not None and efi.is_directory
    return _EFI if is_there and find(root, str(_BOOT_EFI)) is None else _BOOT_EFI
