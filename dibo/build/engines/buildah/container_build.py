"""A Containerfile as an image in a layout of its own: `buildah build`, in a store that goes with the run.

What a killed build leaves in that store goes with it. Commands run in the isolation of buildah that an OCI runtime
gives (runc or crun: namespaces of their own, as an ordinary user), unless BUILDAH_ISOLATION names another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dibo.errors import ToolMissing
from dibo.flavours.files import copy_files
from dibo.plan.base import PRIVATE, ContainerBuild, OciImage
from dibo.system import process
from dibo.system.package_names import how_to_install
from dibo.system.process import OnOutput, Streams

_ISOLATION: Final = "BUILDAH_ISOLATION"
_RUNTIMES: Final = ("crun", "runc")
_NETWORK_PROGRAMS: Final = ("slirp4netns", "pasta")


def build_container(
    source: ContainerBuild, directory: Path, *, environment: Mapping[str, str], on_output: OnOutput
) -> OciImage:
    """The image that `source` describes, below `directory`, which is empty and goes with the run. `environment` is that
    of buildah. Raises ToolMissing, CommandFailed, FlavourError."""
    isolation = _isolation()
    _require_network(source.network)
    context = directory / "context"
    context.mkdir()
    if source.context is not None:
        copy_files(source.context, source.files, context)
    (directory / "Containerfile").write_text(source.text)
    store = ("buildah", "--root", str(directory / "store"), "--runroot", str(directory / "runroot"))

    def run(*words: str) -> None:
        process.run(
            [*store, *words],
            env={**process.proxies(), **environment, _ISOLATION: isolation},
            streams=Streams(on_output=on_output),
        )

    for image in source.images:
        verify = f"--tls-verify={'false' if image.plain_http else 'true'}"
        run("pull", "--quiet", verify, image.reference)
    identity = directory / "identity"
    options = ("--pull-never", "--layers=false", f"--network={source.network}", f"--iidfile={identity}")
    run("build", *options, *source.options, f"--file={directory / 'Containerfile'}", str(context))
    run("push", "--quiet", identity.read_text().strip(), f"oci:{directory / 'image'}")
    return OciImage(reference=f"oci:{directory / 'image'}")


def _require_network(network: str) -> None:
    """Raises ToolMissing for a private network that nothing connects."""
    if network == PRIVATE and os.geteuid() != 0 and not any(map(process.find, _NETWORK_PROGRAMS)):
        raise ToolMissing(
            "neither slirp4netns nor pasta is installed; buildah needs one for a private network",
            hint=how_to_install(_NETWORK_PROGRAMS[0]),
        )


def _isolation() -> str:
    """In buildah's words. Raises ToolMissing where none that separates processes works."""
    if named := os.environ.get(_ISOLATION):
        return named
    if not any(map(process.find, _RUNTIMES)):
        raise ToolMissing(
            "neither crun nor runc is installed; buildah needs one to build a Containerfile",
            hint=f"{how_to_install(_RUNTIMES[0])}\n{_ISOLATION}=chroot does without, and shuts less off",
        )
    return "oci" if os.geteuid() == 0 else "rootless"
