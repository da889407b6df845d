"""What `image=` names: a file of a web server, or something in a registry.

https://HOST[:PORT]/PATH, http://…          a file
[oci://|docker://]HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]     an artefact; the tag is `latest` where none is named
"""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from pull.cmdline import DIGEST
from pull.errors import PullError

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DOCKER_HUB = "docker.io"


@dataclass(frozen=True)
class File:
    """Of a web server. `login` is an Authorization header that the URL had in it, or empty."""

    url: str
    login: str
    shown: str
    """Without anything that may be secret."""


@dataclass(frozen=True)
class Artefact:
    """In a registry."""

    host: str
    repository: str
    tag: str
    digest: str
    shown: str

    @property
    def reference(self) -> str:
        """What the registry is asked for."""
        return self.digest or self.tag


def parse(text: str) -> File | Artefact:
    """Raises PullError."""
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        return _artefact(text)
    if scheme in ("oci", "docker"):
        return _artefact(rest)
    if scheme in ("http", "https"):
        return _file(text)
    raise PullError(f"image={scheme}://… is not known: https://, http:// and oci:// are")


def shown(text: str) -> str:
    """An image= for others to read: no user, password, query."""
    scheme, slashes, rest = text.partition("://")
    rest = rest if slashes else scheme
    place = rest.partition("?")[0].partition("#")[0]
    host, slash, path = place.partition("/")
    prefix = f"{scheme}://" if slashes else "oci://"
    return f"{prefix}{host.rpartition('@')[2] if slash else host}{slash}{path}"


def _file(text: str) -> File:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise PullError(f"image={shown(text)} is no URL: {error}") from error
    if not host or not parts.path.strip("/"):
        raise PullError(f"image={shown(text)} names no file of a server")
    login = ""
    if parts.username is not None:
        login = basic(unquote(parts.username), unquote(parts.password or ""))
    place = f"[{host}]" if ":" in host else host
    place = place if port is None else f"{place}:{port}"
    url = urlunsplit((parts.scheme, place, parts.path, parts.query, ""))
    return File(url=url, login=login, shown=shown(text))


def basic(user: str, password: str) -> str:
    """The header of RFC 7617."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _artefact(text: str) -> Artefact:
    name, at, digest = text.partition("@")
    host, slash, path = name.partition("/")
    head, colon, tag = path.rpartition(":")
    if not colon:
        head, tag = path, ""
    if not slash or ("." not in host and ":" not in host and host != "localhost"):
        raise PullError(f"image={text} does not say which registry is meant: oci://HOST/REPOSITORY:TAG")
    if _HOST.fullmatch(host) is None or _REPOSITORY.fullmatch(head) is None:
        raise PullError(f"image={text} is no reference: oci://HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]")
    if colon and _TAG.fullmatch(tag) is None:
        raise PullError(f"image={text}: {tag!r} is not a tag")
    if at and DIGEST.fullmatch(digest) is None:
        raise PullError(f"image={text}: {digest!r} is not a digest")
    if host == _DOCKER_HUB:
        host, head = "registry-1.docker.io", head if "/" in head else f"library/{head}"
    tag = tag if tag or digest else "latest"
    return Artefact(host=host, repository=head, tag=tag, digest=digest, shown=f"oci://{text}")


def on_loopback(host: str) -> bool:
    """Whether HOST[:PORT] is this machine."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
