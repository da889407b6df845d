"""A file that lies in a registry as an OCI artefact (OCI image specification 1.1, manifest.md; distribution
specification, "Pull"): what `dibo push` and `oras push` leave there.

    manifest {"artifactType", "config": {"mediaType"}, "layers": [{"digest", "size", "annotations": {…title: NAME}}]}
    index    {"manifests": [{"digest", "platform": {"os", "architecture"}}]}
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from dibo.images.platforms import Platform, accepted, preference
from pull.cmdline import DIGEST, Wish
from pull.errors import Passing, PullError
from pull.reference import Artefact, basic, on_loopback
from pull.web import Answer, Client, host_of, ranged

TITLE = "org.opencontainers.image.title"
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_CONTAINERS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
"""Types of a config: with one of these it is a root file system in layers."""
_LARGEST = 4 << 20
_NAMES = re.compile(r".*\.(?:qcow2|raw|img)(?:\.(?:gz|xz|zst))?", re.IGNORECASE)
_ARM = {"armv6l": "arm/v6", "armv7l": "arm/v7", "armv8l": "arm/v7"}
"""What uname(2) calls 32-bit processors that images call by a variant."""
_FIELD = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Blob:
    """`digest` is checked by whoever reads it."""

    digest: str
    size: int
    title: str


class Registry:
    """One repository. `blob` says what is to be written; `request` is what a Stream wants."""

    def __init__(self, client: Client, artefact: Artefact, wish: Wish) -> None:
        self._client, self._artefact, self._wish = client, artefact, wish
        plain = wish.plain_http or on_loopback(artefact.host)
        self._base = f"{'http' if plain else 'https'}://{artefact.host}/v2/{artefact.repository}"
        self._plain = plain
        self._login = f"Bearer {wish.token}" if wish.token else ""

    def blob(self) -> Blob:
        """The file that is meant. Raises PullError."""
        shown = self._artefact.shown
        manifest = self._manifest(self._artefact.reference)
        if "manifests" in manifest:
            manifest = self._manifest(self._of_this_machine(manifest))
        return choose(manifest, shown, self._wish.file)

    def request(self, blob: Blob, first: int, last: int | None) -> Answer:
        """Bytes of a blob."""
        return self._ask(f"blobs/{blob.digest}", ranged(first, last), (200, 206))

    def _manifest(self, reference: str) -> dict[str, Any]:
        accept = {"Accept": ", ".join((*_MANIFESTS, *_INDEXES))}

        def once() -> bytes:
            with self._ask(f"manifests/{reference}", accept, (200,)) as answer:
                return answer.whole(_LARGEST + 1)

        body = self._client.patience.patiently(once)
        algorithm, colon, _ = reference.partition(":")
        if colon and f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}" != reference:
            raise PullError(
                f"the manifest that came for {self._artefact.shown} is not {reference}: do not use it"
            )
        try:
            manifest = json.loads(body)
        except (ValueError, RecursionError):
            manifest = None
        if not isinstance(manifest, dict):
            raise PullError(f"what came for {self._artefact.shown} is no manifest: is this a registry?")
        return manifest

    def _of_this_machine(self, index: dict[str, Any]) -> str:
        entries = [
            each for each in _list(index.get("manifests")) if DIGEST.fullmatch(str(each.get("digest")))
        ]
        machine = _ARM.get(os.uname().machine, os.uname().machine)
        ranks = [(_rank(entry, machine), str(entry["digest"])) for entry in entries]
        fits = [(rank, digest) for rank, digest in ranks if rank is not None]
        if not fits:
            raise PullError(
                f"{self._artefact.shown} has nothing for {'/'.join(accepted(machine)[0]).strip('/')}"
            )
        return min(fits, key=lambda fit: fit[0])[1]

    def _ask(self, path: str, headers: dict[str, str], fine: tuple[int, ...]) -> Answer:
        url = f"{self._base}/{path}"
        answer = self._client.ask("GET", url, headers=headers, login=self._login)
        if answer.status == 401 and urlsplit(answer.url)[:2] == urlsplit(url)[:2] and not self._wish.token:
            with answer:
                self._login = self._log_in(answer.header("WWW-Authenticate"))
            answer = self._client.ask("GET", url, headers=headers, login=self._login)
        if answer.status in fine:
            return answer
        with answer:
            raise self._refusal(answer.status)

    def _refusal(self, status: int) -> PullError:
        why = {
            401: "wants a login (image_user= and image_password=, or image_token=), or another one",
            403: "does not allow it",
            404: "has no such repository, tag or digest",
        }.get(status, f"answered {status}")
        return PullError(f"the registry {self._artefact.host} {why}: {self._artefact.shown}")

    def _log_in(self, challenge: str) -> str:
        """The header that answers a challenge, or nothing (RFC 9110, 11.6.1; docs.docker.com, token authentication)."""
        own = basic(self._wish.user, self._wish.password) if self._wish.user else ""
        kind = challenge.partition(" ")[0].lower()
        if kind == "basic":
            return own
        fields = dict(_FIELD.findall(challenge))
        realm = fields.get("realm", "")
        if kind != "bearer" or "://" not in realm:
            return ""
        if not realm.startswith("https://") and not self._plain:
            raise PullError(
                f"the registry {self._artefact.host} has its tokens at {host_of(realm)}, without TLS"
            )
        scope = fields.get("scope") or f"repository:{self._artefact.repository}:pull"
        query = urlencode({"service": fields.get("service", ""), "scope": scope})
        url = f"{realm}{'&' if '?' in realm else '?'}{query}"
        with self._client.ask("GET", url, login=own) as answer:
            if answer.status != 200:
                raise PullError(
                    f"{host_of(realm)} gives no token for {self._artefact.shown}: {answer.status}"
                )
            body = answer.whole(1 << 20)
        try:
            found = json.loads(body)
            return f"Bearer {found.get('token') or found['access_token']}"
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise Passing(f"{host_of(realm)} gave no token") from error


def choose(manifest: dict[str, Any], shown: str, wanted: str) -> Blob:
    """The file of an artefact that is a disk, or that has the title `wanted`. Raises PullError."""
    config = manifest.get("config")
    if isinstance(config, dict) and config.get("mediaType") in _CONTAINERS:
        raise PullError(
            f"{shown} is a container image, not a disk: `dibo convert` makes a disk of it, `dibo push` puts that into"
            " a registry"
        )
    files = [_blob(each, shown) for each in _list(manifest.get("layers", manifest.get("blobs")))]
    named = [each for each in files if each.title == wanted] if wanted else files
    if len(named) > 1:
        named = [each for each in named if _NAMES.fullmatch(each.title)]
    if len(named) == 1:
        return named[0]
    titles = ", ".join(each.title or "one without a name" for each in files) or "none"
    if wanted:
        raise PullError(f"{shown} has no file {wanted}: its files are {titles}")
    raise PullError(f"{shown} has not just one disk: its files are {titles}; image_file= names one")


def _blob(descriptor: dict[str, Any], shown: str) -> Blob:
    digest, size = descriptor.get("digest"), descriptor.get("size")
    if (
        not isinstance(digest, str)
        or DIGEST.fullmatch(digest) is None
        or not isinstance(size, int)
        or size < 0
    ):
        raise PullError(f"the manifest of {shown} is damaged")
    notes = descriptor.get("annotations")
    return Blob(digest=digest, size=size, title=str(notes.get(TITLE, "")) if isinstance(notes, dict) else "")


def _rank(entry: dict[str, Any], machine: str) -> int | None:
    """The lower, the better; None where it is for other machines. Of no platform is what is for all, and comes last."""
    fields = entry.get("platform")
    if not isinstance(fields, dict) or not fields.get("architecture"):
        return len(accepted(machine))
    names = (str(fields.get("os") or "linux"), str(fields["architecture"]), str(fields.get("variant") or ""))
    return preference(Platform(os=names[0], architecture=names[1], variant=names[2]), machine)


def _list(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
