"""A Docker image in which this machine's own programs run: /usr comes from the host, everything else is the image's.

So no image is pulled from anywhere, and what runs in a container is what runs outside of it, under Docker's default
seccomp profile and capabilities unless options say otherwise. newuidmap and newgidmap have file capabilities, as
docs/how-to/ci-without-root.md wants them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.host.installed_dibo import installed_dibo
from tests.support.images.oracle import command
from tests.support.servers.dockerd import Docker
from tests.support.timeouts import TIMEOUT

IMAGE = "this-machine:1"
USER, ID = "builder", 1000
_ETC = ("group", "nsswitch.conf", "ld.so.cache", "ld.so.conf", "ssl", "containers")


@dataclass(frozen=True, kw_only=True)
class HostContainer:
    docker: Docker
    work: Path
    """/build of each container; belongs to nobody in particular."""

    def run(
        self, options: Sequence[str], argv: Sequence[str], environment: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, with `options` of `docker run`, on the host's network."""
        installed = installed_dibo().parents[1]
        mounts = ("/usr:/usr:ro", "/etc/alternatives:/etc/alternatives:ro", f"{installed}:{installed}:ro")
        variables = ("PATH=/opt/caps:/usr/local/bin:/usr/bin:/usr/sbin", "HOME=/build", "LANG=C.UTF-8")
        return subprocess.run(
            [
                *("docker", "run", "--rm", "--network", "host", "--workdir", "/build"),
                *(word for mount in (*mounts, f"{self.work}:/build") for word in ("--volume", mount)),
                *(word for each in (*variables, *environment) for word in ("--env", each)),
                *options,
                IMAGE,
                *argv,
            ],
            env={**os.environ, **self.docker.environment},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )


def make(docker: Docker) -> HostContainer:
    root = docker.directory / "box"
    for name in ("usr", "etc", "proc", "sys", "dev", "run", "work", "opt/caps"):
        (root / name).mkdir(parents=True)
    for name in ("tmp", "var/tmp"):
        (root / name).mkdir(parents=True)
        (root / name).chmod(0o1777)
    for link in Path("/").iterdir():
        if link.is_symlink() and link.readlink().parts[0] == "usr":
            (root / link.name).symlink_to(link.readlink())
    for name in _ETC:
        if Path("/etc", name).exists():
            command("cp", "-a", Path("/etc", name), root / "etc")
    (root / "etc" / "passwd").write_text(
        f"root:x:0:0::/root:/bin/sh\n{USER}:x:{ID}:{ID}::/build:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
    )
    for name in ("subuid", "subgid"):
        (root / "etc" / name).write_text(f"{USER}:100000:65536\n")
    for name, capability in (("newuidmap", "cap_setuid"), ("newgidmap", "cap_setgid")):
        copy = root / "opt" / "caps" / name
        shutil.copy(shutil.which(name) or f"/usr/bin/{name}", copy)
        copy.chmod(0o755)
        command("setcap", f"{capability}+ep", copy)
    archive = docker.directory / "box.tar"
    command("tar", "-C", root, "--xattrs", "--xattrs-include=*", "-cf", archive, ".")
    environment = {**os.environ, **docker.environment}
    subprocess.run(
        ["docker", "import", str(archive), IMAGE], env=environment, check=True, capture_output=True
    )
    archive.unlink()
    work = docker.directory / "work"
    work.mkdir()
    work.chmod(0o1777)
    return HostContainer(docker=docker, work=work)
