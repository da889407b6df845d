"""A real registry on loopback, for the time of a test."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dibo.system import process
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Registry:
    host: str

    def push(self, repository: str, reference: str, manifest: dict[str, Any], media_type: str) -> str:
        """Put a manifest; its digest."""
        body = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        url = f"http://{self.host}/v2/{repository}/manifests/{reference or digest}"
        _ask("PUT", url, body, media_type)
        return digest

    def push_blob(self, repository: str, content: bytes) -> dict[str, Any]:
        """Put a blob; its descriptor."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        place = _ask("POST", f"http://{self.host}/v2/{repository}/blobs/uploads/", b"", "")
        joint = "&" if "?" in place else "?"
        _ask("PUT", f"{place}{joint}digest={digest}", content, "application/octet-stream")
        return {"digest": digest, "size": len(content), "mediaType": "application/octet-stream"}

    def tags(self, repository: str) -> list[str]:
        """All tags, in order."""
        address = f"http://{self.host}/v2/{repository}/tags/list"
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            address, timeout=TIMEOUT
        ) as answer:
            return sorted(json.load(answer)["tags"] or ())

    def push_image(self, repository: str, tag: str, *, comment: str = "", tar: bytes = bytes(10240)) -> str:
        """Put an image with the layer `tar`, by default an archive with nothing in it; its digest."""
        layer = self.push_blob(repository, tar) | {"mediaType": "application/vnd.oci.image.layer.v1.tar"}
        about = {
            "comment": comment,
            "os": "linux",
            "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
            "history": [{"created_by": "a test"}],
        }
        config = self.push_blob(repository, json.dumps(about).encode())
        config["mediaType"] = "application/vnd.oci.image.config.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}
        return self.push(repository, tag, manifest, OCI_MANIFEST)


def _ask(method: str, url: str, body: bytes, media_type: str) -> str:
    headers = {"Content-Type": media_type} if media_type else {}
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        request, timeout=TIMEOUT
    ) as response:
        return str(response.headers.get("Location", ""))


@contextlib.contextmanager
def registry(directory: Path, *, delete: bool = False, host: str = "") -> Iterator[Registry]:
    """Start docker-registry with its storage in `directory`; it deletes only if it may. `host` is that of one that was
    there before. It ends with the thread that starts it, should the tests be killed: start it from the main one."""
    need("docker-registry", "setpriv")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = host or f"127.0.0.1:{free.getsockname()[1]}"
    config = directory / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {directory / 'data'}}}, "
        f"delete: {{enabled: {str(delete).lower()}}}}}\n"
        f"http: {{addr: '{host}'}}\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
    )
    with (directory / "log").open("wb") as log:
        argv = ["setpriv", "--pdeathsig", "TERM", "--", "docker-registry", "serve", str(config)]
        server = subprocess.Popen(argv, stdout=log, stderr=log)
        process._known.add(server.pid)  # or it is taken for an orphan that a command left
        try:
            _wait(host, server, directory / "log")
            yield Registry(host)
        finally:
            server.terminate()
            server.wait(TIMEOUT)


def _wait(host: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError):
            _ask("GET", f"http://{host}/v2/", b"", "")
            return
        time.sleep(0.05)
    raise AssertionError(f"docker-registry did not start:\n{log.read_text()}")
