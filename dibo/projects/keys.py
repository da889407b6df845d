"""The grammar of a project file: its keys, and the patterns of values. Parser and JSON schema both use these."""

from __future__ import annotations

import re
from typing import Final

from dibo.flavours.model import ARCHITECTURES, FLAVOUR_NAME, SECRET_NAME

IMAGE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
"""Of images, templates, axes' variants; it is the name of files."""
NAME_TEXT: Final = "letters, digits and . _ + -, at most 100, and begins with a letter or digit"
AXIS_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,30}")
TEST_NAME: Final = IMAGE_NAME
VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
SECRET_SOURCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|(?!env:).+", re.DOTALL)
PORT: Final = re.compile(r"(?:(?:[0-9.]+:)?[0-9]+:)?[0-9]+(?:/(?:tcp|udp))?")

TEXT_KEYS: Final = (
    "convert",
    "base",
    "release",
    "arch",
    "layout",
    "size",
    "fs-type",
    "kit",
    "epoch",
    "mirror",
    "sha256",
    "network",
    "host-hooks",
    "destination",
)
"""Whose value is, or may be, one text: an axis of a matrix with that name may list texts."""
INHERITED_KEYS: Final = (
    "flavours",
    "convert",
    "base",
    "release",
    "arch",
    "architectures",
    "types",
    "layout",
    "size",
    "fs-type",
    "packages",
    "variables",
    "secrets",
    "kit",
    "ramdisk",
    "tests",
    "boot",
    "destination",
    "no-base",
    "provenance",
    "flavours-path",
    "converters-path",
    "epoch",
    "mirror",
    "sha256",
    "network",
    "host-hooks",
    "cache",
    "cache-from",
    "cache-to",
    "cache-files",
)
"""Of defaults, templates, images and variants of a matrix."""
TEMPLATE_KEYS: Final = (*INHERITED_KEYS, "name", "matrix", "extends")
DEFAULT_KEYS: Final = (*INHERITED_KEYS, "name", "matrix")
IMAGE_KEYS: Final = (*TEMPLATE_KEYS, "defaults")
VARIANT_KEYS: Final = tuple(key for key in INHERITED_KEYS if key != "architectures")
PROJECT_KEYS: Final = ("include", "defaults", "templates", "images")
CONVERT_KEYS: Final = ("image", "boot-loader", "bare", "prepare", "checksum", "init", "restart")
RAMDISK_KEYS: Final = ("kernel", "compress", "microcode")
BOOT_KEYS: Final = (
    "firmware",
    "machine",
    "cpus",
    "memory",
    "ports",
    "network",
    "append",
    "user",
    "timeout",
)
STEP_KINDS: Final = ("expect", "type", "run", "wait", "screenshot")
"""Those of dibo.machines.steps."""
TEST_KEYS: Final = ("name", "steps", *BOOT_KEYS)
EXCLUDE: Final = "exclude"
EXTENSION: Final = "x-"
"""What keys begin with, at the top of a file, that dibo does not read: a place for anchors."""
KEYS_OF_VARIABLES: Final = {
    "ARCH": "arch",
    "RELEASE": "release",
    "FS_TYPE": "fs-type",
    "IMAGE_TYPE": "types",
    "IMAGE_NAME": "name",
    "IMAGE_SIZE": "size",
    "FLAVOURS_DIR": "flavours-path",
    "DIBO_FLAVOURS_PATH": "flavours-path",
    "DIBO_CONVERTERS_PATH": "converters-path",
    "DIBO_BASE": "base",
    "DIBO_NETWORK": "network",
    "DIBO_HOST_HOOKS": "host-hooks",
    "DIBO_KIT": "kit",
    "DIBO_MIRROR": "mirror",
    "DIBO_EPOCH": "epoch",
    "DIBO_CACHE": "cache",
    "DIBO_CACHE_FROM": "cache-from",
    "DIBO_CACHE_TO": "cache-to",
    "DIBO_CACHE_FILES": "cache-files",
    "KERNEL_VERSION": "ramdisk.kernel",
    "DIBO_RAMDISK_COMPRESSION": "ramdisk.compress",
}
"""Keys that say the same as an environment variable."""
MOST_IMAGES: Final = 10_000

BOOT_LOADERS: Final = ("auto", "grub", "systemd-boot", "uki", "none")
"""Those of dibo.boot.prepare_root."""
FIRMWARE: Final = ("auto", "bios", "uefi", "secure-boot", "u-boot", "built-in", "none")
"""Those of dibo.machines.boards."""
MACHINES: Final = ("q35", "pc", "microvm", "virt", "pseries", "s390-ccw-virtio")
GUEST_NETWORKS: Final = ("user", "isolated", "none")
"""Those of dibo.machines.machine."""

ARCHITECTURE: Final = re.compile(rf"(?:{'|'.join(ARCHITECTURES)})(?:/[a-z0-9.]+)?")
EPOCH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}")
FLAVOUR: Final = FLAVOUR_NAME
SECRET: Final = SECRET_NAME
SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
