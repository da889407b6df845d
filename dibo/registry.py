"""The door to OCI registries: the only file that uses oras.

For now it answers one question: which manifest a name means for an architecture. What came back is checked
here: its digest when one was asked for, its size, its shape. Credentials are those of `docker login` and
its kin (~/.docker/config.json, REGISTRY_AUTH_FILE), read by oras.

oras repeats nearly every failure five times, sleeping 131 s in all (decorator.py), a wrong name included; its
requests have no time-out. Both are set aside here: one request, one time-out.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
from typing import Any, Final

import oras.container
import oras.provider
import requests
import requests.adapters

from dibo.errors import RegistryError, Unreachable, VerificationFailed
from dibo.names import DOCKER_HUB, ImageName

# OCI image specification, image-index.md and manifest.md; the Docker types are their elder twins.
INDEX_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
# OCI distribution specification, "Pushing Manifests": what every registry must take
LARGEST_MANIFEST: Final = 4 << 20
_TIMEOUT: Final = (10.0, 30.0)  # seconds to connect, and between two bytes

# Debian's word for an architecture → GOARCH and variant, the words of the OCI specification
PLATFORMS: Final = {
    "amd64": ("amd64", ""),
    "arm64": ("arm64", "v8"),
    "armhf": ("arm", "v7"),
    "i386": ("386", ""),
    "ppc64el": ("ppc64le", ""),
    "riscv64": ("riscv64", ""),
    "s390x": ("s390x", ""),
}


def resolve(name: ImageName, *, architecture: str, plain_http: bool | None = None) -> str:
    """The digest of the manifest that `name` means for `architecture` (Debian's word): `sha256:…`.

    An index is followed to its one manifest for that architecture. `plain_http` None means: only for
    registries on the loopback interface. Raises Unreachable, RegistryError, VerificationFailed.
    """
    insecure = on_loopback(name.host) if plain_http is None else plain_http
    digest, manifest = _manifest(_Client(insecure=insecure), name)
    return pick(manifest, digest, architecture=architecture, what=str(name))


def pick(manifest: dict[str, Any], digest: str, *, architecture: str, what: str) -> str:
    """The digest for `architecture`: `digest` itself unless `manifest` is an index. Raises RegistryError."""
    if manifest.get("mediaType") in MANIFEST_TYPES or "layers" in manifest:
        return digest
    entries = manifest.get("manifests")
    if not isinstance(entries, list):
        raise RegistryError(
            f"{what} is neither an image nor an index of images", hint="name a container image"
        )
    found = [entry for entry in entries if _is_for(entry, architecture)]
    if not found:
        have = sorted({_platform(entry) for entry in entries} - {"unknown/unknown"})
        raise RegistryError(
            f"{what} has no image for {architecture}; it has {', '.join(have) or 'none at all'}",
            hint="choose another architecture with -a, or another image",
        )
    return str(found[0]["digest"])


class _Client(oras.provider.Registry):  # type: ignore[misc]  # oras has no types
    do_request = oras.provider.Registry.do_request.__wrapped__

    def __init__(self, *, insecure: bool) -> None:
        super().__init__(insecure=insecure, tls_verify=True)
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _WithTimeout())


class _WithTimeout(requests.adapters.HTTPAdapter):
    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        return super().send(request, **{**options, "timeout": options.get("timeout") or _TIMEOUT})


def _manifest(client: _Client, name: ImageName) -> tuple[str, dict[str, Any]]:
    host = "registry-1.docker.io" if name.host == DOCKER_HUB else name.host
    url = f"{client.prefix}://{host}/v2/{name.repository}/manifests/{name.reference}"
    headers = {"Accept": ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))}
    try:
        _use_credentials(client, name)
        response = client.do_request(url, "GET", headers=headers, stream=True)
        body = response.raw.read(LARGEST_MANIFEST + 1, decode_content=True)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Unreachable(f"registry {name.host} cannot be reached: {error}", hint=_OFFLINE) from error
    except Exception as error:  # oras raises ValueError and bare Exceptions
        raise RegistryError(f"registry {name.host} did not give {name}: {error}", hint=_LOGIN) from error
    if response.status_code != 200:
        hint = "check the name and the tag" if response.status_code == 404 else _LOGIN
        raise RegistryError(f"registry {name.host} answered {response.status_code} for {name}", hint=hint)
    return _checked(name, body)


_OFFLINE: Final = "check the network, the name of the registry, and the proxies (https_proxy, no_proxy)"
_LOGIN: Final = "check the name; a private repository wants a login (docker login, buildah login)"


def _use_credentials(client: _Client, name: ImageName) -> None:
    configs = [os.environ["REGISTRY_AUTH_FILE"]] if os.environ.get("REGISTRY_AUTH_FILE") else None
    client.auth.load_configs(oras.container.Container(f"{name.host}/{name.repository}"), configs=configs)


def _checked(name: ImageName, body: bytes) -> tuple[str, dict[str, Any]]:
    if len(body) > LARGEST_MANIFEST:
        raise RegistryError(f"the manifest of {name} is larger than any manifest may be")
    algorithm = (name.digest or "sha256:").partition(":")[0]
    digest = f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"
    if name.digest not in (None, digest):
        raise VerificationFailed(
            f"registry {name.host} sent {digest} for {name}",
            hint="do not use it; tell whoever runs the registry",
        )
    try:
        manifest = json.loads(body)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise RegistryError(f"registry {name.host} sent no manifest for {name}", hint="is this a registry?")
    return digest, manifest


def _is_for(entry: Any, architecture: str) -> bool:
    platform = entry.get("platform", {}) if isinstance(entry, dict) else {}
    wanted, variant = PLATFORMS.get(architecture, (architecture, ""))
    return (
        isinstance(entry.get("digest"), str)
        and platform.get("os", "linux") == "linux"
        and platform.get("architecture") == wanted
        and platform.get("variant", variant) in ("", variant)
    )


def _platform(entry: Any) -> str:
    platform = entry.get("platform", {}) if isinstance(entry, dict) else {}
    return f"{platform.get('os', 'unknown')}/{platform.get('architecture', 'unknown')}"


def on_loopback(host: str) -> bool:
    """As containers' own tools have it: a registry on this machine may speak plain HTTP."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
