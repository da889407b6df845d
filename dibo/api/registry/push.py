"""`dibo push`: a disk, or a ramdisk with its kernel, becomes an artefact in a registry, with what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.api.documents import CommandAnswer, new_document
from dibo.api.registry.companions import companions_of, record_of
from dibo.api.registry.push_archive import is_image_archive, push_archive
from dibo.api.registry.send import ArtefactSender
from dibo.api.registry.subject import find_subject, subject_name
from dibo.artefacts.oci_artefact import DISK, HEAD, RAMDISK, format_of
from dibo.cache.push_image import target
from dibo.errors import DiskImageError, UsageError
from dibo.images.manifest import digest_of
from dibo.ramdisk.make import kernel_path
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.trust.policy import trust_of

_RAMDISK_NAMES: Final = (".ramdisk", ".initramfs", ".initrd", ".cpio")


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: Path
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """What is sent, and where it belongs."""

    attach: bool = False
    """Send the artefact as a referrer of the image that the reference names, without a tag of its own."""
    alone: bool = False
    """Leave out what lies beside it."""


_DEFAULT: Final = PushOptions()


def push(
    settings: Settings, report: Report, file: Path, reference: str, *, options: PushOptions = _DEFAULT
) -> CommandAnswer:
    """Push `file` as `reference`, and its bills and provenance as its referrers; HOST/PATH:TAG@DIGEST. Attached to the
    image that is there, all of them are referrers of that. Raises UsageError, DiskImageError, RegistryError,
    Unreachable, VerificationFailed for a file that is not what its .sha256 says."""
    name = subject_name(reference) if options.attach else target(reference)
    trust = trust_of(settings)
    head = _head(file)
    if is_image_archive(file, head):
        if options.attach:
            raise UsageError(
                f"{file} is an image, and only disks and ramdisks are attached to one",
                hint="push it under a name of its own, without --attach",
            )
        pushed = f"{name}@{push_archive(file, name, trust=trust, report=report)}"
        return CommandAnswer(text=pushed, document=_document(pushed, None, []))
    kind, files = _artefact(file, head)
    record = record_of(file)
    image = find_subject(name, record, settings.platform, file) if options.attach else None
    sender = ArtefactSender(name, trust, report)
    contents = [sender.send_file(part.path, part.media_type) for part in files]
    companions = () if options.alone else companions_of(file, record, [part.digest[7:] for part in contents])
    manifest = sender.put(kind, contents, subject=image)
    sent = [sender.attach(companion, subject=image or manifest) for companion in companions]
    pushed = f"{name.at(digest_of(manifest)) if options.attach else name}"
    pushed = pushed if options.attach else f"{pushed}@{digest_of(manifest)}"
    subject = digest_of(image) if image is not None else None
    return CommandAnswer(text=pushed, document=_document(pushed, subject, sent))


def _document(reference: str, subject: str | None, referrers: list[dict[str, str]]) -> dict[str, object]:
    return new_document("push", reference=reference, subject=subject, referrers=referrers)


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
    if file.is_fifo() or file.is_socket():  # opening a FIFO waits, and what is read of it is gone
        raise DiskImageError(
            f"{file} is no file", hint="artefacts are read more than once: write it to a file first"
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
