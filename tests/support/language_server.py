"""A small client of the Language Server Protocol (version 3.17), as an editor is one: a server is started, documents
are opened in it, and it says what is wrong with them and what may stand at a place.

Messages are JSON-RPC 2.0 over the server's standard input and output, each after a header with its length in bytes:

    Content-Length: 52\\r\\n
    \\r\\n
    {"jsonrpc": "2.0", "id": 1, "method": …}

https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification/
"""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.timeouts import TIMEOUT

Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """What a server says of a document: `line` counts from 1."""

    line: int
    message: str


class LanguageServer:
    """A server that `argv` starts, for the files below `root`. Ends with the `with` block."""

    def __init__(self, argv: Sequence[str | Path], *, root: Path, settings: Message) -> None:
        self._settings = settings
        self._numbers = itertools.count(1)
        self._diagnostics: dict[str, list[Diagnostic]] = {}
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
        self.root = root

    def __enter__(self) -> Self:
        capabilities = {
            "textDocument": {"publishDiagnostics": {}, "completion": {}, "hover": {}},
            "workspace": {"configuration": True},
        }
        self._ask(
            "initialize", {"processId": None, "rootUri": self.root.as_uri(), "capabilities": capabilities}
        )
        self._tell("initialized", {})
        self._tell("workspace/didChangeConfiguration", {"settings": self._settings})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._ask("shutdown", None)
                self._tell("exit", None)
                self._process.wait(TIMEOUT)
        finally:
            self._process.kill()
            self._process.communicate()

    def open(self, path: Path, text: str, *, language: str = "yaml") -> list[Diagnostic]:
        """What the server says of a document with this text; the file need not exist."""
        self._diagnostics.pop(path.as_uri(), None)
        document = {"uri": path.as_uri(), "languageId": language, "version": 1, "text": text}
        self._tell("textDocument/didOpen", {"textDocument": document})
        while path.as_uri() not in self._diagnostics:
            self._receive()
        return self._diagnostics[path.as_uri()]

    def complete(self, path: Path, *, line: int, column: int) -> list[str]:
        """What may stand at a place of a document that is open; `line` counts from 1, `column` from 0."""
        answer = self._ask("textDocument/completion", _place(path, line, column))
        return [item["label"] for item in (answer["items"] if isinstance(answer, dict) else answer or [])]

    def hover(self, path: Path, *, line: int, column: int) -> str:
        """What the server explains of a place."""
        answer = self._ask("textDocument/hover", _place(path, line, column))
        return str(answer["contents"]["value"]) if answer else ""

    def _ask(self, method: str, parameters: object) -> Any:
        number = next(self._numbers)
        self._send({"id": number, "method": method, "params": parameters})
        while True:
            message = self._receive()
            if message.get("id") == number and "method" not in message:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]

    def _tell(self, method: str, parameters: object) -> None:
        self._send({"method": method, "params": parameters})

    def _send(self, message: Message) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> Message:
        """The next message; diagnostics are kept, and what the server asks is answered."""
        message: Message = json.loads(self._read())
        match message.get("method"):
            case "textDocument/publishDiagnostics":
                parameters = message["params"]
                self._diagnostics[parameters["uri"]] = [
                    Diagnostic(line=said["range"]["start"]["line"] + 1, message=said["message"])
                    for said in parameters["diagnostics"]
                ]
            case "workspace/configuration":
                sections = [self._settings.get(item["section"]) for item in message["params"]["items"]]
                self._send({"id": message["id"], "result": sections})
            case str() if "id" in message:
                self._send({"id": message["id"], "result": None})
        return message

    def _read(self) -> bytes:
        stream = self._process.stdout
        assert stream is not None
        size = 0
        while header := self._line().strip():
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        return stream.read(size)

    def _line(self) -> bytes:
        stream = self._process.stdout
        assert stream is not None
        if not stream.peek(1):  # type: ignore[attr-defined]
            raise AssertionError(f"the language server ended with the code {self._process.wait(TIMEOUT)}")
        return stream.readline()


def _place(path: Path, line: int, column: int) -> Message:
    return {"textDocument": {"uri": path.as_uri()}, "position": {"line": line - 1, "character": column}}
