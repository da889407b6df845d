"""From what a user writes to an image: FORMS has all that it can be.

As with bases, a word without a host is not taken for an image of Docker Hub: a wrong guess would be found out late.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from dibo.errors import DiboError, UsageError
from dibo.images.image import Image
from dibo.images.reference import ImageName, names_a_host, parse_image_name
from dibo.images.sources.archive import open_archive
from dibo.images.sources.docker_archive import DockerArchive
from dibo.images.sources.files import DirectoryFiles
from dibo.images.sources.layout import LayoutImages
from dibo.images.sources.skopeo_dir import SkopeoDirectory

FORMS: Final = {
    "HOST[:PORT]/PATH[:TAG][@DIGEST]": "in a registry",
    "docker://PATH[:TAG][@DIGEST]": "the same, or, without a host, at Docker Hub",
    "oci:DIR[:TAG or @DIGEST]": "in an OCI layout",
    "oci-archive:FILE[:TAG or @DIGEST]": "in a tar of an OCI layout",
    "docker-archive:FILE[:NAME or :@N]": "in what `docker save` or `podman save` wrote",
    "dir:DIR": "in what `skopeo copy` wrote to `dir:`",
    "containers-storage:NAME": "in the store of buildah and podman",
    "docker-daemon:NAME": "in the store of the docker daemon",
}
POSSIBLE: Final = "\n".join(
    ["an image is one of", *(f"  {form:33}  {where.replace('`', '')}" for form, where in FORMS.items())]
)


_ELSEWHERE: Final = frozenset(form.partition(":")[0] for form in FORMS if ":" in form.partition("[")[0]) - {
    "docker"
}


@contextlib.contextmanager
def choose_image(reference: str, *, architecture: str, scratch: Path) -> Iterator[Image]:
    """The image that `reference` names, for `architecture` (Debian's word), with its files open.

    What can be read only once is kept in nameless files in `scratch`. Raises UsageError for what names no image,
    ImageError, VerificationFailed, RegistryError, Unreachable, ToolMissing, EngineError.
    """
    kind, colon, rest = reference.partition(":")
    with contextlib.ExitStack() as stack:
        match kind if colon else "":
            case "oci":
                path, which = split(rest, lambda found: (found / "index.json").is_file(), reference)
                yield LayoutImages(DirectoryFiles(path), name=reference, reference=which).image(
                    architecture=architecture
                )
            case "dir":
                path = _path(rest, reference)
                yield SkopeoDirectory(DirectoryFiles(path), name=reference).image(architecture=architecture)
            case "oci-archive":
                path, which = split(rest, Path.is_file, reference)
                files = stack.enter_context(open_archive(path, scratch=scratch))
                yield LayoutImages(files, name=reference, reference=which).image(architecture=architecture)
            case "docker-archive":
                path, which = split(rest, Path.is_file, reference)
                files = stack.enter_context(open_archive(path, scratch=scratch))
                yield DockerArchive(files, name=reference, reference=which).image(architecture=architecture)
            case "containers-storage":
                from dibo.images.sources.containers_storage import store_image

                yield store_image(rest, reference=reference, architecture=architecture, scratch=scratch)
            case "docker-daemon":
                from dibo.images.sources.docker_daemon import daemon_image

                yield stack.enter_context(
                    daemon_image(rest, reference=reference, architecture=architecture, scratch=scratch)
                )
            case _ if reference.startswith("docker://") or _is_in_a_registry(reference):
                from dibo.images.sources.registry import registry_image  # brings oras along, which takes long

                yield registry_image(
                    reference.removeprefix("docker://"), reference=reference, architecture=architecture
                )
            case _:
                raise UsageError(f"{reference!r} names no image", hint=_hint(reference))


def registry_name(reference: str) -> ImageName | None:
    """The name of an image in a registry; None for one that is somewhere else. Raises UsageError."""
    kind, colon, _ = reference.partition(":")
    if colon and kind in _ELSEWHERE:
        return None
    if reference.startswith("docker://") or _is_in_a_registry(reference):
        return parse_image_name(reference)
    return None


def _is_in_a_registry(reference: str) -> bool:
    """A path could look like it: what is there is meant, and gets a hint."""
    with contextlib.suppress(OSError, ValueError):  # a name that is too long, or has a NUL
        if Path(reference).exists():
            return False
    return names_a_host(reference) and not reference.startswith(("/", "./", "../", "~"))


def split(text: str, is_one: Callable[[Path], bool], reference: str) -> tuple[Path, str]:
    """A path and what follows it: a tag, `@…`, or nothing. A path may have colons in it when something is there:
    the shortest path that `is_one` counts."""
    ends = [at for at, letter in enumerate(text) if letter in ":@"]
    for end in (*ends, len(text)):
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            if end and is_one(Path(text[:end]).expanduser()):
                return _path(text[:end], reference), _which(text[end:])
    end = next((at for at in ends if text[at] == ":" or text[at : at + 5] == "@sha2"), len(text))
    return _path(text[:end], reference), _which(text[end:])


def _which(text: str) -> str:
    return text.removeprefix(":")


def _path(text: str, reference: str) -> Path:
    if not text or "\0" in text:
        raise UsageError(f"{reference!r} names no file or directory", hint=POSSIBLE)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~nobody
        raise UsageError(f"{reference!r}: {error}") from error


def _hint(reference: str) -> str:
    """What might have been meant by something without a prefix."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        path = Path(reference).expanduser()
        for name, prefix in (("index.json", "oci"), ("manifest.json", "dir")):
            if (path / name).is_file():
                return f"write {prefix}:{reference}"
        if path.is_dir():
            return f"it is a directory, but no image\n{POSSIBLE}"
        if path.is_file():
            return _hint_for_file(path, reference)
    with contextlib.suppress(DiboError):
        parse_image_name(reference)
        return f"if it is an image of Docker Hub: docker://{reference}\n{POSSIBLE}"
    return POSSIBLE


def _hint_for_file(path: Path, reference: str) -> str:
    with contextlib.suppress(DiboError), open_archive(path, scratch=None) as files:
        for name, prefix in (("manifest.json", "docker-archive"), ("index.json", "oci-archive")):
            if files.size(name) is not None:
                return f"write {prefix}:{reference}"
        return (
            f"it is a tar, but of no image; if it is one of a root file system:\n"
            f"  disk-image-create --base {shlex.quote(reference)} …"
        )
    return f"if it is an archive of an image: oci-archive:{reference} or docker-archive:{reference}"
