"""Names of images, as people write them.

    [docker://] [http:// or https://] [HOST[:PORT]/] PATH [:TAG] [@DIGEST]

The grammar is that of distribution/reference (https://github.com/distribution/reference, reference.go): the
first component is a host only when it has a dot or a colon or is `localhost`; a tag follows a colon in the
*last* component. So `localhost:5000/debian` has a port and no tag. A name without a host is Docker Hub's, and
there a path of one component lies below `library/`; with neither tag nor digest the tag is `latest`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from typing import Final, Self

from dibo.errors import UsageError

DOCKER_HUB: Final = "docker.io"

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_LONGEST_PATH: Final = 255  # reference.go, RepositoryNameTotalLengthMax


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageName:
    """Where an image is: `repository` has its `library/`. With neither `tag` nor `digest`, a whole repository."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None
    scheme: str = field(default="", compare=False)
    """`http` or `https` where it was written; it is no part of the name."""

    @property
    def reference(self) -> str:
        """What registries are asked for: the digest, which says more, or else the tag."""
        return self.digest or self.tag or "latest"

    def tagged(self, tag: str) -> Self:
        """The same repository, at that tag."""
        return replace(self, tag=tag, digest=None)

    def at(self, digest: str) -> Self:
        """The same repository, at that digest and no tag."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


def parse_image_name(text: str) -> ImageName:
    """The image that `text` names, with or without `docker://`. Raises UsageError."""
    scheme, rest = _split_scheme(text)
    rest, at, digest = rest.partition("@")
    if at and _DIGEST.fullmatch(digest) is None:
        raise _not_a_name(text, f"{digest!r} is not a digest")
    host, path = _split_host(rest, scheme=scheme)
    path, tag = _split_tag(path)
    if _HOST.fullmatch(host) is None:
        raise _not_a_name(text, f"{host!r} is not a host")
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if _PATH.fullmatch(path) is None or len(host) + len(path) + 1 > _LONGEST_PATH:
        raise _not_a_name(text, f"{path!r} is not a path: small letters, digits, and . _ - between them")
    if tag is not None and _TAG.fullmatch(tag) is None:
        raise _not_a_name(text, f"{tag!r} is not a tag")
    if tag is None and not digest:
        tag = "latest"
    return ImageName(host=host, repository=path, tag=tag, digest=digest or None, scheme=scheme)


def parse_repository(text: str) -> ImageName:
    """The repository that `text` names: `HOST[:PORT]/PATH`, no tag and no digest. Raises UsageError."""
    scheme, rest = _split_scheme(text)
    hint = "write HOST[:PORT]/PATH, such as registry.example:5000/team/cache"
    if not names_a_host(text):
        raise UsageError(f"{text!r} does not say which registry is meant", hint=hint)
    host, path = _split_host(rest, scheme=scheme)
    if "@" in path or _split_tag(path)[1] is not None:
        raise UsageError(
            f"{text!r} names one image, expected a repository: dibo makes its tags itself",
            hint=f"leave out the tag and the digest: {host}/{_split_tag(path.partition('@')[0])[0]}",
        )
    name = parse_image_name(text)
    return ImageName(host=name.host, repository=name.repository, scheme=scheme)


def names_a_host(text: str) -> bool:
    """Whether the first component of `text` is a host: `localhost/x`, `ghcr.io/x`, `http://x/y`; not `library/x`."""
    scheme, rest = _split_scheme(text)
    first, slash, _ = rest.partition("/")
    return bool(slash) and (bool(scheme) or first == "localhost" or "." in first or ":" in first)


def on_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine: as containers' own tools have it, a registry there may speak plain
    HTTP."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _split_scheme(text: str) -> tuple[str, str]:
    """`http`, `https` or nothing, and the name after it."""
    rest = text.removeprefix("docker://")
    for scheme in ("http", "https"):
        if rest.startswith(f"{scheme}://"):
            return scheme, rest.removeprefix(f"{scheme}://")
    return "", rest


def _split_host(text: str, *, scheme: str = "") -> tuple[str, str]:
    if not scheme and not names_a_host(text):
        return DOCKER_HUB, text
    host, _, path = text.partition("/")
    return (DOCKER_HUB, path) if host == "index.docker.io" else (host, path)


def _split_tag(path: str) -> tuple[str, str | None]:
    head, slash, last = path.rpartition("/")
    name, colon, tag = last.partition(":")
    return f"{head}{slash}{name}", tag if colon else None


def _not_a_name(text: str, why: str) -> UsageError:
    return UsageError(
        f"{text!r} does not name an image: {why}",
        hint="write [HOST[:PORT]/]PATH[:TAG] or …@sha256:DIGEST, such as registry.example:5000/debian:12",
    )
