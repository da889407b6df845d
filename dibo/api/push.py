"""`dibo push`: a disk, or a ramdisk with its kernel, becomes an artefact in a registry."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.api.documents import CommandAnswer, new_document
from dibo.api.push_archive import is_image_archive, push_archive
from dibo.artefacts.oci_artefact import DISK, EMPTY, HEAD, RAMDISK, ArtefactFile, compose, format_of
from dibo.artefacts.outputs import verified_sha256
from dibo.cache.push_image import target
from dibo.errors import DiskImageError, UsageError
from dibo.images.byte_count import ByteCount
from dibo.images.image import Reader
from dibo.images.manifest import OCI_MANIFEST, digest_of
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.ramdisk.make import kernel_path
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.system.task import Task
from dibo.trust.policy import trust_of
from dibo.units import human_size

_RAMDISK_NAMES: Final = (".ramdisk", ".initramfs", ".initrd", ".cpio")


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: Path
    media_type: str


def push(settings: Settings, report: Report, file: Path, reference: str) -> CommandAnswer:
    """Push `file` as `reference`; HOST/PATH:TAG@DIGEST. Raises UsageError, DiskImageError, RegistryError,
    Unreachable, VerificationFailed for a file that is not what its .sha256 says."""
    name = target(reference)
    trust = trust_of(settings)
    head = _head(file)
    if is_image_archive(file, head):
        pushed = f"{name}@{push_archive(file, name, trust=trust, report=report)}"
        return CommandAnswer(text=pushed, document=new_document("push", reference=pushed))
    kind, files = _artefact(file, head)
    contents = []
    for part in files:
        with report.task(f"push {part.path.name}") as task:
            content = _described(part, task)
            sent = _send(name, content, part.path, task)
            task.note(f"{human_size(content.size)}" if sent else "it is there already")
        contents.append(content)
    empty = digest_of(EMPTY)
    if not api.exists(name, empty):
        api.push_blob(name, empty, len(EMPTY), lambda: contextlib.nullcontext(io.BytesIO(EMPTY)))
    manifest = compose(kind, contents, empty=empty)
    trust.sign(name, digest_of(manifest))
    digest = api.push_manifest(name, manifest, OCI_MANIFEST)
    pushed = f"{name}@{digest}"
    return CommandAnswer(text=pushed, document=new_document("push", reference=pushed))


def _head(file: Path) -> bytes:
    if file.is_dir():
        is_layout = (file / "index.json").is_file()
        raise DiskImageError(
            f"{file} is a directory, and an artefact in a registry is made of files",
            hint=f"skopeo pushes images: skopeo copy oci:{file} docker://HOST/PATH:TAG"
            if is_layout
            else "push a disk in place of it: dibo convert -t qcow2; or pack it, and push that by another program:"
            f"\n  tar --zstd -cf {file.name}.tar.zst {file.name}",
        )
    try:
        with file.open("rb") as stream:
            return stream.read(HEAD)
    except OSError as error:
        raise DiskImageError(f"cannot read {file}: {error.strerror}") from error


def _artefact(file: Path, head: bytes) -> tuple[str, tuple[_File, ...]]:
    """The type of the artefact, and its files."""
    kernel = kernel_path(file)
    named = any(suffix in _RAMDISK_NAMES for suffix in file.suffixes)
    if kernel.exists() or named:
        if not kernel.exists():
            raise UsageError(
                f"the kernel of the ramdisk {file} is missing: {kernel}",
                hint="push both: ramdisk-image-create writes the kernel beside the ramdisk",
            )
        return RAMDISK, (
            _File(path=kernel, media_type=f"{RAMDISK}.kernel"),
            _File(path=file, media_type=f"{RAMDISK}.initramfs"),
        )
    kind = format_of(head)
    if kind is None:
        raise DiskImageError(
            f"{file} is no disk: it has no partition table and no file system that dibo knows",
            hint="push a raw disk, a qcow2, a containerdisk, or a ramdisk with its kernel beside it; "
            "for a root file system: dibo build --push",
        )
    return DISK, (_File(path=file, media_type=f"{DISK}.{kind}"),)


def _described(file: _File, task: Task) -> ArtefactFile:
    """With the digest, which is that of the file beside it where there is one."""
    size = file.path.stat().st_size
    digest = verified_sha256(file.path, lambda done: task.progress(done, size))
    return ArtefactFile(
        title=file.path.name, media_type=file.media_type, digest=f"sha256:{digest}", size=size
    )


def _send(name: ImageName, content: ArtefactFile, path: Path, task: Task) -> bool:
    """Whether it had to be sent."""
    if api.exists(name, content.digest):
        return False

    @contextlib.contextmanager
    def opened() -> Iterator[Reader]:
        with path.open("rb") as stream:
            yield stream

    count = ByteCount(task.progress, content.size)
    api.push_blob(name, content.digest, content.size, count.opener(opened))
    return True
