"""Where people's logins to registries lie, and under which names.

containers-auth.json(5): REGISTRY_AUTH_FILE alone where it is set; else podman's and buildah's files, else Docker's. The
first file that knows a registry wins. Keys are `host[:port]`, with podman also `host/path/of/a/repository`, the longest
match first; Docker Hub's is `https://index.docker.io/v1/`, and old clients wrote URLs for all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dibo.images.reference import DOCKER_HUB, ImageName

_LARGEST = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """One file."""

    auths: Mapping[str, Any] = field(default_factory=dict)
    helpers: Mapping[str, Any] = field(default_factory=dict)
    """A credential helper for each host, as docker-credential-NAME."""
    store: str = ""
    """The helper for all other hosts."""


def files(environment: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Where logins may lie, the most particular first."""
    if environment.get("REGISTRY_AUTH_FILE"):
        return (Path(environment["REGISTRY_AUTH_FILE"]),)
    paths = []
    if environment.get("XDG_RUNTIME_DIR"):
        paths.append(Path(environment["XDG_RUNTIME_DIR"]) / "containers/auth.json")
    paths.append(Path(f"/run/containers/{os.getuid()}/auth.json"))
    paths.append(Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json")
    paths.append(Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json")
    return tuple(paths)


def read(path: Path) -> Logins | None:
    """What a file says; None where there is no such file or it is no JSON object."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_LARGEST))
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict):
        return None
    return Logins(
        auths=_mapping(document.get("auths")),
        helpers=_mapping(document.get("credHelpers")),
        store=str(document.get("credsStore") or ""),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def keys(name: ImageName) -> tuple[str, ...]:
    """Under which keys a login for `name` may lie, the most particular first."""
    if name.host == DOCKER_HUB:
        return ("https://index.docker.io/v1/", DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
    parts = name.repository.split("/")
    paths = ["/".join((name.host, *parts[:count])) for count in range(len(parts), -1, -1)]
    return (*paths, f"https://{name.host}", f"https://{name.host}/v1/", f"https://{name.host}/v2/")
