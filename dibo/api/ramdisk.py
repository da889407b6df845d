"""From flavours to a ramdisk: the layers of a stack as for a disk, and a ramdisk of the root."""

from __future__ import annotations

from pathlib import Path

from dibo.api.session import new_session
from dibo.artefacts import manifest
from dibo.build import build as spine
from dibo.flavours.loader import load_wishes
from dibo.flavours.ramdisk_requests import Fragment, Wishes
from dibo.flavours.stack import make_stack
from dibo.ramdisk.init import Script, assemble
from dibo.ramdisk.lint import check
from dibo.ramdisk.make import Order, rules_named
from dibo.ramdisk.settings import RamdiskSettings
from dibo.ramdisk.write import check_output, write_ramdisk
from dibo.settings.settings import Settings
from dibo.system import resources
from dibo.system.report import Report


def create(decided: Settings, wanted: RamdiskSettings, report: Report) -> tuple[Path, ...]:
    """Make the initramfs and the kernel; their paths."""
    check_output(wanted.output)
    stack = make_stack(decided.flavours, spine.catalogue(decided).get, architecture=decided.architecture)
    wishes = tuple(load_wishes(flavour) for flavour in stack.flavours)
    script, fragments = script_of(wishes)
    with new_session(decided, report) as session:
        for warning in check(script, fragments, directory=session.run.subdirectory("init")):
            report.warn(warning)
        job = session.job()
        order = make_order(wanted, wishes, script, epoch=decided.source_date_epoch)
        about = manifest.of_build(job, command="ramdisk-image-create", options={})
        about |= manifest.of_ramdisk(wanted)
        return session.with_root(
            job,
            lambda root: write_ramdisk(
                root, order, wanted.output, about=about, run=session.run, report=report
            ),
        )


def make_order(wanted: RamdiskSettings, wishes: tuple[Wishes, ...], script: Script, *, epoch: int) -> Order:
    """What goes in, from the stack and from the converter's own files."""
    own = resources.shared("converters") / "initramfs"
    return Order(
        wishes=wishes,
        init=script.text,
        udhcpc=(own / "udhcpc").read_bytes(),
        rules=rules_named((own / "udev-rules").read_text()),
        epoch=epoch,
        compression=wanted.compression,
        kernel_version=wanted.kernel_version,
        module_root=wanted.module_root,
        busybox=wanted.busybox,
        microcode=wanted.microcode,
    )


def script_of(wishes: tuple[Wishes, ...]) -> tuple[Script, tuple[Fragment, ...]]:
    """/init, and the fragments of flavours in it."""
    own = resources.shared("converters") / "initramfs" / "init.d"
    begin, end = (
        Fragment(flavour="", path=str(own / name), text=(own / name).read_text()) for name in ("begin", "end")
    )
    fragments = tuple(each.init for each in wishes if each.init is not None)
    return assemble(begin, fragments, end), fragments
