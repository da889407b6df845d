"""All engines. A new one is a folder beside this file, and a line here."""

from __future__ import annotations

from typing import Final

from dibo.build.engine import EngineKind
from dibo.build.engines.buildah.kind import BuildahKind
from dibo.build.engines.docker.kind import DockerKind

ENGINES: Final[tuple[EngineKind, ...]] = (BuildahKind(), DockerKind())
"""In the order in which `auto` tries them."""
