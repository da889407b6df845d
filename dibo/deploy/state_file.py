"""The state file: what is remembered of machines from one run of the boot server to the next.

It keeps machines that are deployed from being deployed again when they boot over the network. So a file that cannot be
read, or not be written, is an error and not an empty one. Only its owner may read it: it has the keys of deployments
under way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from dibo.deploy.status import Status, kept, remembered
from dibo.errors import BootServerError


def recall(path: Path) -> dict[str, Status]:
    """Raises BootServerError."""
    try:
        return remembered(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise BootServerError(
            f"cannot read {path}: {error}",
            hint="it says which machines are deployed; without it they are deployed again: mend it, or remove it",
        ) from error


def remember(path: Path, statuses: Mapping[str, Status]) -> None:
    """The file is replaced whole. Raises BootServerError."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(kept(statuses), indent=1) + "\n")
        part.replace(path)
    except OSError as error:
        raise BootServerError(
            f"cannot write to {path}: {error.strerror}", hint="name another file with --state"
        ) from error
