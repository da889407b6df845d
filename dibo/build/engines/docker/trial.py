"""What `dibo doctor` does with a docker daemon: all that a step asks of it but running something, on an empty image."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from dibo.build.engines.docker.engine import UNFINISHED, forget, require_version
from dibo.build.engines.docker.image import Blob, archive, new_config
from dibo.system.docker_api import Daemon, connected
from dibo.system.docker_container import ContainerRequest

_IMAGE: Final = "localhost/dibo/doctor"


def try_daemon() -> str:
    """Its version and where it is. Raises EngineError."""
    with (
        tempfile.TemporaryDirectory(prefix="dibo-doctor-") as scratch,
        connected(scratch=Path(scratch)) as daemon,
    ):
        version = require_version(daemon)
        _try(daemon, f"dibo-doctor-{os.getpid()}")
        return f"{version} at {daemon.host}"


def _try(daemon: Daemon, name: str) -> None:
    layer, image = _tar("empty", b""), f"{_IMAGE}:{name}"
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    blob = Blob(diff_id=diff_id, open=lambda: contextlib.nullcontext((len(layer), io.BytesIO(layer))))
    config = new_config(architecture=daemon.architecture, diff_ids=[diff_id], labels={})
    try:
        daemon.load(archive(config, name=image, layers=[blob]))
        daemon.make_volume(name)
        volume = (name, "/tmp/volume", False)  # noqa: S108 (inside)
        daemon.make_container(ContainerRequest(name=name, image=image, argv=["true"], volume=volume))
        daemon.put(name, "/tmp/volume", _tar("file", b"content"))  # noqa: S108 (inside)
        daemon.commit(name, UNFINISHED, name)
    finally:
        forget(daemon, name)
        daemon.untag(image)


def _tar(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return file.getvalue()
