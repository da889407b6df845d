"""Options of diskimage-builder's disk-image-create: those that variables stand for, and those without an effect.

Commands and lists of images (images.yaml) write the variables of this table; what reads them checks their values.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final

from dibo.errors import UsageError

CHECKSUM: Final = "DIB_CHECKSUM"
EXTRA_SIZE: Final = "DIB_IMAGE_EXTRA_SIZE"
INSTALL_TYPE: Final = "DIB_DEFAULT_INSTALLTYPE"
JOURNAL_SIZE: Final = "DIB_JOURNAL_SIZE"
MKFS_OPTIONS: Final = "DIBO_MKFS_OPTIONS"
OFFLINE: Final = "DIB_OFFLINE"
QEMU_IMG_OPTIONS: Final = "QEMU_IMG_OPTIONS"
QUIET: Final = "DIB_QUIET"
ROOT_LABEL: Final = "ROOT_LABEL"
_COMPRESSION: Final = "DIBO_QCOW2_COMPRESSION"
INSTALL_TYPES: Final = ("source", "package")

VARIABLES_OF_OPTIONS: Final = {
    "image-extra-size": EXTRA_SIZE,
    "install-type": INSTALL_TYPE,
    "mkfs-journal-size": JOURNAL_SIZE,
    "mkfs-options": MKFS_OPTIONS,
    "qemu-img-options": QEMU_IMG_OPTIONS,
    "root-label": ROOT_LABEL,
}
"""Of options with a value."""
WITHOUT_EFFECT: Final = {
    "docker-target": "`dibo build --tag NAME` makes a container image of the same names",
    "max-online-resize": "an ext4 of dibo grows to 1024 times its size, or 16 TiB, while it is mounted",
    "min-tmpfs": "dibo builds layers, in no tmpfs",
    "no-tmpfs": "dibo builds layers, in no tmpfs",
    "ramdisk-element": "it is for ramdisk-image-create, whose flavours say what a ramdisk is like",
}
"""Options that are accepted with a warning, and why."""
OF_ELEMENTS: Final = (EXTRA_SIZE, INSTALL_TYPE, ROOT_LABEL)
"""Variables that say something of elements alone."""


def without_effect(option: str) -> str:
    """The warning."""
    return f"--{option} has no effect: {WITHOUT_EFFECT[option]}"


def wants_md5(environment: Mapping[str, str]) -> bool:
    """Whether an MD5 goes beside each artefact."""
    value = environment.get(CHECKSUM, "")
    return value not in ("", "0") and (value == "1" or "md5" in value)


def unused_of_elements(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Warnings for a stack of flavours."""
    options = {variable: option for option, variable in VARIABLES_OF_OPTIONS.items()}
    return tuple(
        f"--{options[name]} ({name}) has no effect: it is for stacks with elements"
        for name in OF_ELEMENTS
        if environment.get(name)
    )


def mkfs_words(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Options for mke2fs. Raises UsageError."""
    journal = environment.get(JOURNAL_SIZE, "")
    if journal and re.fullmatch(r"[1-9][0-9]{0,5}", journal) is None:
        raise UsageError(
            f"--mkfs-journal-size ({JOURNAL_SIZE}) is {journal!r}, not a number of MB", hint="such as 64"
        )
    try:
        words = shlex.split(environment.get(MKFS_OPTIONS, ""))
    except ValueError as error:
        raise UsageError(f"--mkfs-options ({MKFS_OPTIONS}): {error}", hint="close each quote") from error
    for word in words:
        if word[:2] in _OF_DIBO:
            raise UsageError(
                f"--mkfs-options ({MKFS_OPTIONS}): {word} is for dibo to say",
                hint=f"leave out {', '.join(_OF_DIBO)}: --root-label is the label, --fs-type the type",
            )
    return (*(("-J", f"size={journal}") if journal else ()), *words)


_OF_DIBO: Final = ("-L", "-U", "-d", "-t", "-n", "-b")


def qemu_img_variables(text: str) -> dict[str, str]:
    """The variables that say the same as options of `qemu-img -o` for a qcow2. Raises UsageError for those without a
    counterpart."""
    variables = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = word.partition("=")
        if key == "compression_type":
            variables[_COMPRESSION] = value
        elif (key, value) not in _AS_THEY_ARE:
            raise UsageError(
                f"--qemu-img-options ({QEMU_IMG_OPTIONS}) {word}: a qcow2 of dibo has no such option",
                hint="compression_type=zlib or zstd; for others, convert the image that was made:"
                f" qemu-img convert -O qcow2 -o {text} IMAGE.qcow2 OTHER.qcow2",
            )
    return variables


_AS_THEY_ARE: Final = (
    *(("compat", "1.1"), ("compat", "v3"), ("cluster_size", "65536"), ("cluster_size", "64k")),
    *(("preallocation", "off"), ("lazy_refcounts", "off"), ("refcount_bits", "16"), ("encryption", "off")),
)
"""Of a qcow2 that dibo writes."""
