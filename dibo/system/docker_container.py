"""The configuration of dibo's containers, in the form of the docker API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_DROPPED: Final = ("AUDIT_WRITE", "MKNOD", "NET_RAW")
"""Capabilities that docker gives and buildah does not: what a hook may do must not depend on the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRequest:
    """A container to make. Its logs are not kept, and nothing in its image's config is run."""

    name: str
    image: str
    argv: Sequence[str]
    volume: tuple[str, str, bool] | None = None
    """Its name, where it is mounted, and whether it is read-only."""
    environment: Mapping[str, str] = field(default_factory=dict)
    terminal: bool | None = None
    """Whether there is one; with None standard input is closed."""
    network: str = "host"
    hostname: str | None = None
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    """File systems in memory: mount options by path."""

    def arguments(self, client: Any, types: Any) -> dict[str, Any]:
        """For create_container of the SDK's client; `types` are the SDK's."""
        volumes = [self.volume] if self.volume else []
        host = client.create_host_config(
            network_mode=self.network,
            ipc_mode="private",
            security_opt=["no-new-privileges"],
            mounts=[types.Mount(place, name, read_only=read, no_copy=True) for name, place, read in volumes],
            tmpfs=dict(self.tmpfs),
            cap_drop=list(_DROPPED),
            # What programs of a distribution expect; some close every number they could have.
            ulimits=[types.Ulimit(name="nofile", soft=1024, hard=4096)],
            log_config=types.LogConfig(type=types.LogConfig.types.NONE),
        )
        return {
            "image": self.image,
            "command": list(self.argv),
            "name": self.name,
            "entrypoint": [],
            "user": "0:0",
            "working_dir": "/",
            "host_config": host,
            "hostname": self.hostname,
            "environment": dict(self.environment),
            "tty": bool(self.terminal),
            "stdin_open": self.terminal is not None,
            "healthcheck": {"test": ["NONE"]},
        }
