"""QEMU's machine protocol: one JSON document a line, events in between (QEMU, docs/interop/qmp-spec)."""

from __future__ import annotations

import json
import socket
from typing import Any

from tests.support.timeouts import TIMEOUT


class Monitor:
    """A connection to one QEMU. Raises ConnectionError when it ends, LookupError when QEMU refuses."""

    def __init__(self, connection: socket.socket, *, timeout: float = TIMEOUT) -> None:
        connection.settimeout(timeout)
        self._file = connection.makefile("rwb")
        self._read()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: str) -> Any:
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._file.write(json.dumps(request).encode() + b"\n")
        self._file.flush()
        while True:
            answer = self._read()
            if "error" in answer:
                raise LookupError(f"{command}: {answer['error'].get('desc')}")
            if "return" in answer:
                return answer["return"]

    def ssh_port(self) -> int:
        """The port that QEMU took when it was told to forward port 0 of the host."""
        table = str(self.execute("human-monitor-command", command_line="info usernet"))
        for line in table.splitlines():  # TCP[HOST_FORWARD]  12  127.0.0.1  40123  10.0.2.15  22  0  0
            match line.split():
                case ["TCP[HOST_FORWARD]", _, _, port, _, "22", *_]:
                    return int(port)
        raise LookupError(f"no forwarded port in {table!r}")

    def _read(self) -> dict[str, Any]:
        line = self._file.readline()
        if not line:
            raise ConnectionError("it closed the monitor")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer
