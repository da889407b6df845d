"""The word to a machine that its disk is written: one TCP connection, as the flavour deploy waits for it."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Final

from dibo.deploy.machines import MachinePlace
from dibo.deploy.write_plan import DeploymentFailed

PORT: Final = 10000
_SECONDS: Final = 10.0


def give_word(place: MachinePlace, *, patience: float) -> None:
    """One connection to the machine, which then takes its disk back; tried for `patience` seconds. Raises
    DeploymentFailed."""
    deadline = time.monotonic() + patience
    while (why := _try(place, min(_SECONDS, patience))) is not None:
        if time.monotonic() + 1 > deadline:
            raise DeploymentFailed(
                f"the disk is written, but the machine does not take the word at {place}: {why}"
            )
        time.sleep(1)


def _try(place: MachinePlace, seconds: float) -> str | None:
    """Why not, if so."""
    try:
        with socket.create_connection((place.host, place.port), timeout=seconds) as word:
            word.sendall(b"done")
            word.shutdown(socket.SHUT_WR)
            with contextlib.suppress(TimeoutError):  # it may keep the connection; that it took it is enough
                word.recv(1)
    except OSError as error:
        return error.strerror or str(error)
    return None
