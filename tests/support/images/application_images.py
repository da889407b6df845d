"""Images as people push them to run programs: busybox, a few files, no kernel, no init."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.images.oci_layouts import LayerTar, OciLayout, Tar

PORT = 8080
SERVE = f"""\
#!/bin/sh
echo "app: $* as $(id -u):$(id -g) in $(pwd), GREETING=$GREETING"
echo "app: TOLD=$TOLD"
echo "app: $(tr '\\0' '\\n' </proc/$$/environ | grep '^odd[.]name=')"
echo "app: running after $(cut -d' ' -f1 /proc/uptime) s"
echo "app: started $(grep -c more /data/count 2>/dev/null || echo 0) times before"
echo more >>/data/count
rm -f /data/ill
trap 'echo "app: told to stop"; exit 0' USR1
mkdir -p /data/www && echo "hello from $(hostname)" >/data/www/index.html
httpd -f -p {PORT} -h /data/www &
wait
"""
RUN: Mapping[str, Any] = {
    "Entrypoint": ["serve", "it's"],
    "Cmd": ["$(reboot)", "`two words`"],
    "Env": ["PATH=/srv/bin:/bin", "GREETING=a 'quoted' \"word\"; reboot", "odd.name=1"],
    "WorkingDir": "/srv/new/place",
    "User": "app",
    "Volumes": {"/data": {}},
    "ExposedPorts": {f"{PORT}/tcp": {}},
    "StopSignal": "SIGUSR1",
}


def application(
    directory: Path,
    *,
    run: Mapping[str, Any] = RUN,
    serve: str = SERVE,
    architecture: str = "amd64",
    uid: int = 1234,
) -> Path:
    """A layout of one image, in a new directory, which is returned. `uid` is its user's number and its group's."""
    busybox = shutil.which("busybox")
    assert busybox is not None, "the test needs busybox"
    layout = OciLayout(directory)
    tar = Tar(directory / "layer.tar")
    for path in ("bin", "etc", "srv", "srv/bin"):
        tar.directory(path)
    tar.directory("data", uid=uid, gid=uid)
    tar.add("bin/busybox", Path(busybox).read_bytes(), mode=0o755)
    for name in (
        "sh",
        "id",
        "cat",
        "echo",
        "env",
        "grep",
        "hostname",
        "httpd",
        "mkdir",
        "rm",
        "sleep",
        "tr",
        "cut",
        "wget",
    ):
        tar.symlink(f"bin/{name}", "busybox")
    tar.add("srv/bin/serve", serve.encode(), mode=0o755)
    tar.add("etc/passwd", f"root:x:0:0:root:/root:/bin/sh\napp:x:{uid}:{uid}::/srv:/bin/sh\n".encode())
    tar.add("etc/group", f"root:x:0:\napp:x:{uid}:\nextra:x:4321:other,app\n".encode())
    image = layout.image([LayerTar(tar=tar.close())], run=run, architecture=architecture)
    tar.path.unlink()
    layout.write_index({"latest": image})
    return directory
