"""A real iSCSI target on loopback, for the time of a test: tgtd with a control socket of its own, as any user."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from dibo.system import process
from tests.support.machines.direct_boot import free_port
from tests.support.requirements import need


class Tgtd:
    """A context manager; entering starts tgtd. `directory` is for its socket and its log; its path must be short."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self._targets = 0

    def __enter__(self) -> Self:
        need("tgtd", "tgtadm")
        self._environment = {**os.environ, "TGT_IPC_SOCKET": str(self._directory / "tgtd")}
        with (self._directory / "tgtd.log").open("wb") as log:
            program = process.find("tgtd")
            assert program is not None
            self._process = subprocess.Popen(
                [program, "-f", "--iscsi", f"portal=127.0.0.1:{self.port}"],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        process._known.add(self._process.pid)  # or it is taken for an orphan that a command left
        for _ in range(200):
            if self._ask("--mode", "sys", "--op", "show") == 0:
                return self
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        self.kill()
        raise AssertionError(f"tgtd did not start:\n{(self._directory / 'tgtd.log').read_text()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def offer(self, iqn: str, disk: Path) -> None:
        """A target with `disk` as LUN 1, for everybody."""
        self._targets += 1
        tid = ("--tid", str(self._targets))
        for words in (
            ("--mode", "target", "--op", "new", *tid, "--targetname", iqn),
            ("--mode", "logicalunit", "--op", "new", *tid, "--lun", "1", "--backing-store", str(disk)),
            ("--mode", "target", "--op", "bind", *tid, "--initiator-address", "ALL"),
        ):
            assert self._ask(*words) == 0, f"tgtadm {' '.join(words)}"

    def kill(self) -> None:
        """As when a machine loses its power. tgtd does not end at SIGTERM while it has targets."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(10)

    def _ask(self, *words: str) -> int:
        program = process.find("tgtadm")
        assert program is not None
        done = subprocess.run([program, "--lld", "iscsi", *words], env=self._environment, capture_output=True)
        return done.returncode
