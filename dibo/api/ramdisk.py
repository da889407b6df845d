"""What `ramdisk-image-create` does: builds the layers of a stack as for a disk, and makes a ramdisk of the root."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dibo.api.session import new_session, settings
from dibo.artefacts import manifest
from dibo.build import build as spine
from dibo.flavours.loader import load_wishes
from dibo.flavours.ramdisk_requests import Fragment, Wishes
from dibo.flavours.stack import make_stack
from dibo.ramdisk.init import Script, assemble
from dibo.ramdisk.lint import check
from dibo.ramdisk.make import Order, rules_named
from dibo.ramdisk.settings import BASE, RamdiskSettings, decide_ramdisk
from dibo.ramdisk.write import check_output, write_ramdisk
from dibo.settings.settings import Options
from dibo.system import resources
from dibo.system.report import Report, answer
from dibo.units import human_size


def create(
    options: Options,
    report: Report,
    *,
    kernel_version: str | None,
    module_root: str | None,
    compression: str | None,
    microcode: bool,
) -> int:
    """ramdisk-image-create."""
    wanted = decide_ramdisk(
        os.environ,
        output=options.name,
        kernel_version=kernel_version,
        module_root=module_root,
        compression=compression,
        microcode=microcode,
    )
    for path in make(options, report, wanted):
        answer(f"{path}  ({human_size(path.stat().st_size)})")
    return 0


def make(
    options: Options,
    report: Report,
    wanted: RamdiskSettings,
    *,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Path, ...]:
    """The initramfs and the kernel, made with these variables; their paths."""
    check_output(wanted.output)
    flavours = ((BASE,) if options.with_base else ()) + options.flavours
    decided = settings(replace(options, flavours=flavours, with_base=False), environment)
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
