"""From a root to a ramdisk: its layers are read once, into a spool without a name; the files are written from there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dibo.artefacts.manifest import SUFFIX, Facts, artefacts, complete, manifest_text
from dibo.artefacts.outputs import Outputs, check_output_files, check_output_name
from dibo.artefacts.provenance import ManifestFile, ProvenanceRequest, provenance_path, provenance_text
from dibo.build.engine import Root, Setup
from dibo.errors import UsageError
from dibo.images.byte_count import total_size
from dibo.images.layers.change_digest import Ledger
from dibo.images.layers.load import LoadOptions, load
from dibo.images.layers.spool import Spool
from dibo.ramdisk.make import RamdiskSpec, kernel_path, make_ramdisk, pack
from dibo.ramdisk.source import ContentReader
from dibo.tree.dpkg import installed
from dibo.tree.node import Buffer
from dibo.tree.query import KEPT_FILES
from dibo.units import human_size


def check_output(output: Path) -> None:
    """What can be refused before anything is built. Raises UsageError, OutputError."""
    if not output.name or output.suffix == ".kernel":
        raise UsageError(
            f"{str(output)!r} is not a valid name for an initramfs",
            hint="-o takes a file: deploy.ramdisk; the kernel goes beside it, as deploy.kernel",
        )
    check_output_name(output)
    check_output_files((output, kernel_path(output)))


def write_ramdisk(
    root: Root,
    order: RamdiskSpec,
    output: Path,
    setup: Setup,
    *,
    manifest: Mapping[str, Any],
    provenance: ProvenanceRequest | None = None,
) -> tuple[Path, Path]:
    """Write the initramfs to `output` and the kernel beside it, with the sha256 of each, the manifest of both, which
    begins with `manifest`, and their provenance if requested; their paths. Raises RamdiskError, OutputError, and
    what reading layers raises."""
    paths = (output, kernel_path(output))
    run, report = setup.run, setup.report
    with Outputs(run) as outputs, tempfile.TemporaryFile(dir=run.directory) as file:
        ramdisk_part, kernel_part = map(outputs.artefact, paths)
        with report.task("root") as task:
            total = total_size([layer.size for layer in root.layers])
            spool, ledger = Spool(file), Ledger(built=root.built)
            tree = load(
                root.layers,
                spool,
                LoadOptions(
                    keep=KEPT_FILES,
                    clamp=order.epoch,
                    ledger=ledger,
                    progress=lambda done: task.progress(done, total),
                ),
            )
            for warning in tree.warnings:
                report.warn(warning)
            task.note(f"{human_size(tree.bytes)} in {tree.entries} files")
        with report.task("ramdisk") as task:
            contents = ContentReader(spool)
            ramdisk = make_ramdisk(tree.root, order, contents)
            for name in ramdisk.modules.missing_firmware:
                report.line(f"firmware that is not in the root: {name}")
            kernel_size = _write(kernel_part, contents.stream(ramdisk.kernel))
            size = _write(ramdisk_part, pack(ramdisk, order, contents), task.progress)
            task.note(f"Linux {ramdisk.version}, {len(ramdisk.modules.modules)} modules, {human_size(size)}")
        sums = outputs.checksums(paths, report)
        facts = Facts(layers=tuple(ledger.digests), packages=installed(tree.root))
        made = artefacts(("initramfs", "kernel"), paths, (size, kernel_size), sums)
        path, whole = output.with_name(output.name + SUFFIX), complete(manifest, facts, made)
        text = manifest_text(whole)
        outputs.record(path, text)
        if provenance is None:
            outputs.drop(provenance_path(path))
        else:
            record = ManifestFile.of(path.name, text.encode())
            outputs.record(provenance_path(path), provenance_text(whole, record, provenance))
        outputs.publish()
    return paths


def _write(path: Path, pieces: Iterable[Buffer], on_bytes: Callable[[int], None] = lambda _: None) -> int:
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            on_bytes(file.tell())
        return file.tell()
