"""A socket here that leads to one on another machine, by ssh(1), -L."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from dibo.errors import EngineError
from dibo.system.process import Process


@contextlib.contextmanager
def forwarded(host: str, far: str, near: Path, seconds: int) -> Iterator[None]:
    """Make `near` lead to the socket at `ssh://[USER@]MACHINE[:PORT][/PATH]`, at `far` where that has no path; within
    `seconds`. Raises EngineError when ssh cannot log in, ToolMissing."""
    url = urlsplit(host)
    argv = ["ssh", "-nNT", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"]
    argv += ["-o", f"ConnectTimeout={seconds}"]
    argv += ["-p", str(url.port)] if url.port else []
    argv += ["-l", url.username] if url.username else []
    argv += ["-L", f"{near}:{url.path if url.path not in ('', '/') else far}", "--", url.hostname or ""]
    agent = {name: os.environ[name] for name in ("SSH_AUTH_SOCK",) if name in os.environ}
    with Process(argv, env=agent) as ssh:
        deadline = time.monotonic() + seconds
        while not near.exists():
            if ssh.ended or time.monotonic() > deadline:
                ssh.stop()
                last_line = f": {ssh.tail[-1]}" if ssh.tail else ""
                raise EngineError(
                    f"cannot reach the docker daemon at {host}{last_line}",
                    hint=f"try: ssh {url.netloc} docker version",
                )
            time.sleep(0.02)
        yield
