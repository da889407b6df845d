"""QEMU's machine protocol: one JSON document a line, events in between (QEMU, docs/interop/qmp-spec)."""

from __future__ import annotations

import json
import re
import socket
from typing import Any, Final

_SECONDS: Final = 60.0
_LARGEST: Final = 1 << 22
_FORWARD: Final = re.compile(r"\s*(TCP|UDP)\[HOST_FORWARD\]\s+\S+\s+(\S+)\s+(\d+)\s+\S+\s+(\d+)\s")


class Monitor:
    """A connection to one QEMU. Every method raises ConnectionError when it ends or says nothing, LookupError when
    QEMU refuses a command."""

    def __init__(self, connection: socket.socket, *, timeout: float = _SECONDS) -> None:
        connection.settimeout(timeout)
        self._file = connection.makefile("rwb")
        self._read()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: str | int) -> Any:
        """What the command returns. Of the names of arguments, underscores are dashes."""
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            self._file.write(json.dumps(request).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise ConnectionError(f"it closed the monitor: {error}") from error
        while True:
            answer = self._read()
            if "error" in answer:
                raise LookupError(f"{command}: {answer['error'].get('desc')}")
            if "return" in answer:
                return answer["return"]

    def forwarded_ports(self) -> dict[tuple[str, int], int]:
        """The ports here, by protocol and port of the guest; with those that QEMU took for port 0."""
        table = str(self.execute("human-monitor-command", command_line="info usernet"))
        rows = (
            _FORWARD.match(line) for line in table.splitlines()
        )  # TCP[HOST_FORWARD] 12 127.0.0.1 40123 10.0.2.15 22
        return {(row[1].lower(), int(row[4])): int(row[3]) for row in rows if row}

    def _read(self) -> dict[str, Any]:
        try:
            line = self._file.readline(_LARGEST)
        except OSError as error:
            raise ConnectionError(f"it says nothing: {error}") from error
        if not line:
            raise ConnectionError("it closed the monitor")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ConnectionError(f"it says {line!r}")
        return answer
