"""The environment variables that commands read, with what each sets and its default: what `-h` and the reference print,
and a test holds them and the code together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectVariable:
    """A variable that a project file sets for an image."""

    name: str
    place: str
    """Where: file, line and path of keys."""
    inherited: bool
    """Whether it is set for several images, of which some may have no use for it."""


VARIABLES: Final = {
    "ARCH": "architecture: amd64, arm64, armhf, i386, riscv64 (this machine's)",
    "RELEASE": "release of the base (the newest that dibo knows)",
    "BASE_IMAGE_FILE": "name of the Ubuntu root tarball on the server",
    "CLOUD_IMAGES": "server of Ubuntu's cloud images",
    "FS_TYPE": "root file system: ext4, ext3, ext2 (ext4)",
    "IMAGE_TYPE": "artefacts, separated by commas (the ending of IMAGE_NAME, or qcow2)",
    "IMAGE_NAME": "name of the artefact (image)",
    "IMAGE_SIZE": "size of the disk in GB, that is 2^30 bytes; fractions allowed (2)",
    "DIB_IMAGE_SIZE": "the same, as diskimage-builder calls it, where nothing else says a size",
    "DIB_OFFLINE": "1 for the option --offline",
    "IMG_PATH": "directory for downloads and runs (~/.cache/dibo)",
    "FLAVOURS_DIR": "directory of flavours, searched before the built-in ones",
    "ELEMENTS_PATH": "directories of elements of diskimage-builder, separated by colons",
    "DIBO_FLAVOURS_PATH": "more such directories, separated by colons",
    "DIBO_CONVERTERS_PATH": "directories of converters, separated by colons",
    "DIBO_BASE": "root to start from: ubuntu, debian, an image, a tarball (ubuntu)",
    "DIBO_ENGINE": "engine: buildah, docker, or auto for the first that works (auto)",
    "DIBO_ISOLATION": "isolation of steps: bwrap; or chroot, which hides nothing of this machine (bwrap)",
    "DIBO_NETWORK": "network of steps: host, or none (host)",
    "DIBO_HOST_HOOKS": "hooks on the host: run, run in a sandbox, or refuse flavours with any: none (run)",
    "DIBO_KIT": "kit for images without a kernel, as `dibo convert --kit` takes it",
    "DIBO_MIRROR": "Debian mirror to install from",
    "DIBO_ARCHIVE_KEYRING": "keyring with the keys of the Debian mirror (Debian's)",
    "DIBO_UBUNTU_KEYRING": "keyring with the key of the Ubuntu images",
    "DIBO_UBUNTU_FINGERPRINT": "fingerprint of that key",
    "DIBO_KEYSERVER": "keyserver that has this key, or none (https://keyserver.ubuntu.com)",
    "DIBO_EPOCH": "name of the state of package archives that layers are built from (this month, for what hooks fetch)",
    "DIBO_CACHE": "repository HOST/PATH to read layers from and store them in",
    "DIBO_CACHE_FROM": "repositories to only read layers from, separated by commas",
    "DIBO_CACHE_TO": "repositories to only store layers in, separated by commas",
    "DIBO_CACHE_FILES": "1 for the option --cache-files, 0 against that of a project file",
    "DIBO_STORE_LIMIT": "largest size in GB of layers in the engine's store after a build; 0 means no limit (20)",
    "DIBO_LAYER_COMPRESSION": "compression of stored layers: zstd, gzip, none (zstd)",
    "DIBO_SIGN_KEY": "private key that signs stored and pushed images",
    "DIBO_SIGN_PASSWORD": "password of this key, if it is encrypted; or COSIGN_PASSWORD",
    "DIBO_VERIFY_KEYS": "accept only caches and images signed by these public keys, separated by colons",
    "DIBO_POLICY": "file that lists the accepted keys for each repository, instead of DIBO_VERIFY_KEYS",
    "DIBO_PLAIN_HTTP": "registries that speak plain HTTP, besides those on loopback: HOST[:PORT], separated by commas",
    "DIBO_QCOW2_COMPRESSION": "zlib, zstd or none (zlib)",
    "SOURCE_DATE_EPOCH": "latest time in artefacts; later times become this one (the start of the epoch)",
}

RAMDISK_VARIABLES: Final = {
    "KERNEL_VERSION": "version of the kernel and its modules (the newest in the root)",
    "MODULE_ROOT": "take kernel, modules and firmware from this directory, not from the root; / is this machine",
    "BUSYBOX": "a busybox of this machine, instead of the root's",
    "IMAGE_NAME": "the initramfs (ramdisk)",
    "DIBO_RAMDISK_COMPRESSION": "zstd, gzip, xz, none; or with a level, zstd:19 (zstd:9)",
}
"""Those that ramdisk-image-create has besides, or means differently."""
