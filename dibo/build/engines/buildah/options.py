"""Options of buildah's commands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dibo.errors import UsageError


def bind_option(source: Path, target: str) -> str:
    """The option of `buildah run` that has `source` at `target`, read-only. Raises UsageError for a path that neither
    of its two forms can tell."""
    if ":" not in str(source):
        return f"--volume={source}:{target}:ro"
    if "," not in str(source):
        return f"--mount=type=bind,src={source},dst={target},ro"
    raise UsageError(
        f"buildah cannot mount {source}, which has a colon and a comma in its name",
        hint="set IMG_PATH or --cache-dir to another directory, or use the sandbox: --isolation bwrap",
    )


def label_options(labels: Mapping[str, str]) -> list[str]:
    return [
        f"--label={name}={value}" if value else f"--label={name}-" for name, value in sorted(labels.items())
    ]
