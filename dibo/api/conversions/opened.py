"""What a conversion begins with: a directory to work in, and an image that may be used."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dibo.errors import ImageError, OutputError, SignatureError
from dibo.images.image import Image
from dibo.images.sources.choose import choose_image, registry_name
from dibo.images.sources.table import Verify
from dibo.settings.settings import Settings
from dibo.system.workspace import Workspace


def open_trusted(
    settings: Settings, reference: str, scratch: Path, *, architecture: str = ""
) -> contextlib.AbstractContextManager[Image]:
    """The image that `reference` names, for `architecture` or else for that of the settings. Raises SignatureError, and
    what `dibo.images.sources.choose.choose_image` raises."""
    return choose_image(
        reference,
        architecture=architecture or settings.platform,
        scratch=scratch,
        verify=_verify(settings, reference),
    )


@contextlib.contextmanager
def open_kit(settings: Settings, reference: str, scratch: Path, *, architecture: str = "") -> Iterator[Image]:
    """As open_trusted. The error says how to make a kit where there is none, or none for the architecture."""
    with contextlib.ExitStack() as stack:
        try:
            kit = stack.enter_context(open_trusted(settings, reference, scratch, architecture=architecture))
        except ImageError as error:
            options = f"-a {architecture or settings.architecture} {_output_option(reference)}"
            raise ImageError(
                f"cannot use the kit {reference}: {error.message}",
                hint=f"make one, where buildah or docker is: dibo build --kit cloud {options}",
            ) from error
        yield kit


def _output_option(reference: str) -> str:
    """What has `dibo build --kit` write a kit to where `reference` names it: a layout, a registry; else to `kit`."""
    name = reference.partition("@")[0]
    if registry_name(reference) is not None:
        return f"--push {name.removeprefix('docker://')}"
    layout = name.removeprefix("oci:")
    directory, _, tag = layout.rpartition(":")
    layout = directory if tag and Path(directory or "/dev/null").is_dir() else layout
    return f"-o {shlex.quote(layout) if name.startswith('oci:') else 'kit'}"


def _verify(settings: Settings, reference: str) -> Verify | None:
    """What lets an image pass that is signed by a key that the user trusts, where one is named. Raises SignatureError
    for an image that has no signature because of where it is."""
    if settings.policy is None and not settings.verify_keys:
        return None
    name = registry_name(reference)
    if name is not None:
        from dibo.trust.policy import trust_of

        trust = trust_of(settings)
        trust.require_chance(name)

        def verify(digest: str) -> None:
            trust.verify(name, digest)

        return verify
    if settings.policy is None:
        raise SignatureError(
            f"the signature of {reference} cannot be checked: signatures are kept in registries",
            hint="convert it from its registry, or leave --verify-key (DIBO_VERIFY_KEYS) out",
        )
    return None


@contextlib.contextmanager
def conversion_workspace(settings: Settings) -> Iterator[Workspace]:
    """The cache. If the default one cannot be made, a directory beside the output, which is removed at the end: in a
    container, the user may have no home, and only the output directory may be writable."""
    with contextlib.ExitStack() as stack:
        try:
            workspace = Workspace(settings.cache)
        except OutputError:
            if settings.cache_named:
                raise
            beside = settings.output.absolute().parent
            try:
                place = stack.enter_context(tempfile.TemporaryDirectory(prefix=".dibo-", dir=beside))
            except OSError as error:
                raise OutputError(f"cannot write to {beside}: {error.strerror}") from error
            workspace = Workspace(Path(place))
        yield workspace
