"""A kit on an image: what changes in their common tree, once it is known.

The layers of the kit lie above those of the image and are read in the same stream. What is left to do follows from the
image's configuration: the application becomes files (dibo.kits.files), and places that the kit's init needs are made.
An image with an init of its own gets the kernel alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from dibo.boot.prepared import PreparedRoot
from dibo.errors import ImageError, UsageError
from dibo.formats.paths import TooManyLinks
from dibo.images.image import Image, Layer
from dibo.kits.files import service_files
from dibo.kits.manifest import LABEL, MANIFEST, KitManifest, parse_kit_manifest
from dibo.kits.service import command_words, has_own_init, service_of
from dibo.kits.users import GROUP_FILE, USER_FILE
from dibo.tree.node import Node
from dibo.tree.query import find, real_path

KEPT_FILES: Final = (USER_FILE.encode(), GROUP_FILE.encode(), str(MANIFEST).lstrip("/").encode())
"""Files whose bytes the tree must be loaded with."""
_MOUNTED: Final = {"/proc": 0o755, "/sys": 0o755, "/dev": 0o755, "/run": 0o755, "/tmp": 0o1777}  # noqa: S108
INIT: Final = "/sbin/init"
_RUN: Final = PurePosixPath("/run/dibo")
_ROOT_ENTRY: Final = b"root:x:0:0:root:/root:/bin/sh\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """`image` with `kit` on it. `own_init` says whether the image's own init is booted; None leaves it to the image."""

    image: Image
    kit: Image
    own_init: bool | None = None
    restart: str = "always"

    @property
    def layers(self) -> tuple[Layer, ...]:
        return (*self.image.layers, *self.kit.layers)

    @property
    def identity(self) -> str:
        """What identifiers on disks derive from."""
        return f"{self.image.digest}+{self.kit.digest}"

    @property
    def program(self) -> str:
        """What the machine runs, in the words of the options and the image; empty where the root decides."""
        if self.own_init:
            return INIT
        words = command_words(self.image.config)
        return words[0] if words else ""

    def facts(self, root: Node) -> Mapping[str, str]:
        """What manifests say of it, by the common tree: the version of the kernel, and the program that runs."""
        is_init = self._boots_own_init(root)
        program = INIT if is_init else service_of(self.image.config, root, name=self.image.name).command[0]
        return {"kernel": self._manifest(root).kernel, "program": program}

    def _boots_own_init(self, root: Node) -> bool:
        return has_own_init(self.image.config, root) if self.own_init is None else self.own_init

    def settle(self, root: Node, prepared: PreparedRoot) -> PreparedRoot:
        """What goes into the common tree, besides what was prepared. Raises ImageError for an image or a kit that
        cannot be used, UsageError."""
        manifest = self._manifest(root)
        files = dict(prepared.files)
        links = {**prepared.links, **_modules_link(root, manifest)}
        directories = {PurePosixPath(path): mode for path, mode in _MOUNTED.items() if not _has(root, path)}
        if self._boots_own_init(root):
            if find(root, INIT) is None:
                raise UsageError(
                    f"the image {self.image.name} has no /sbin/init to boot",
                    hint="leave --init out: then the program that the image names is run",
                )
            return replace(prepared, links=links, directories=directories)
        service = service_of(self.image.config, root, name=self.image.name)
        files |= service_files(service, restart=self.restart)
        if not _has(root, "/etc/passwd"):
            files[PurePosixPath("/etc/passwd")] = _ROOT_ENTRY
        for name in ("resolv.conf", "hosts"):
            links[PurePosixPath("/etc", name)] = str(_RUN / name).encode()
        for path in (service.directory, *service.volumes):
            if not _has(root, path):
                directories[_real(root, path)] = 0o755
        return replace(prepared, files=files, links=links, directories=directories)

    def _manifest(self, root: Node) -> KitManifest:
        node = find(root, str(MANIFEST))
        if node is None or node.data is None:
            raise ImageError(
                f"{self.kit.name} is no kit: it has no {MANIFEST}",
                hint="make one: dibo build --kit cloud -o kit",
            )
        manifest = parse_kit_manifest(node.data, name=self.kit.name)
        if self.kit.architecture not in ("", manifest.architecture):
            raise ImageError(
                f"the kit {self.kit.name} is for {self.kit.architecture}, and its manifest says {manifest.architecture}"
            )
        return manifest


def is_kit(image: Image) -> bool:
    """Whether an image says that it is one, or that it is made on top of one."""
    run = image.config.get("config")
    labels = run.get("Labels") if isinstance(run, dict) else None
    return isinstance(labels, dict) and LABEL in labels


def attach(image: Image, kit: Image, *, own_init: bool | None, restart: str) -> Attachment:
    """Raises ImageError for a kit that is none, or is for other machines than the image."""
    if not is_kit(kit):
        raise ImageError(
            f"{kit.name} is no kit: it has no label {LABEL}", hint="make one: dibo build --kit cloud -o kit"
        )
    if image.architecture and kit.architecture and image.architecture != kit.architecture:
        raise ImageError(
            f"the image {image.name} is for {image.architecture}, and the kit {kit.name} for {kit.architecture}",
            hint=f"make a kit for it: dibo build --kit cloud -a {image.architecture} -o kit",
        )
    return Attachment(image=image, kit=kit, own_init=own_init, restart=restart)


def _has(root: Node, path: str) -> bool:
    return find(root, path.encode(errors="surrogateescape")) is not None


def _modules_link(root: Node, manifest: KitManifest) -> dict[PurePosixPath, bytes]:
    """The modules where programs of every root look for them."""
    if _has(root, f"/lib/modules/{manifest.kernel}"):
        return {}
    path = _real(root, f"/lib/modules/{manifest.kernel}")
    return {path: f"/usr/lib/modules/{manifest.kernel}".encode()}


def _real(root: Node, path: str) -> PurePosixPath:
    """Where a path that leads nowhere yet will be. Raises ImageError where that cannot be."""
    try:
        return PurePosixPath(real_path(root, path))
    except NotADirectoryError as error:
        raise ImageError(f"the image cannot have the directory {path}: {error} is a file in it") from error
    except TooManyLinks:
        raise ImageError(
            f"the image cannot have the directory {path}: too many symbolic links lead there, or they lead in a circle"
        ) from None
