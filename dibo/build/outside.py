"""The sandbox of scripts of elements that run outside of the image, on its tree.

They see the programs of this machine (/usr, and of /etc what these need), dibo's own Python, the step's context at
/run/dibo, and the tree at /build.dib/mnt, with /proc, /dev and /sys in it for those that change their root there. They
do not see the user's files, nor sockets of services. They are root of the engine's user namespace, without the right
to mount.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dibo.build import sandbox

TREE: Final = "/build.dib/mnt"
_CONTEXT: Final = "/run/dibo"
_LINKS: Final = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_OF_ETC: Final = (
    *(
        "alternatives",
        "bash.bashrc",
        "ca-certificates",
        "debian_version",
        "gai.conf",
        "gitconfig",
        "group",
        "host.conf",
    ),
    *(
        "hosts",
        "inputrc",
        "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d",
        "localtime",
        "magic",
        "mime.types",
        "nsswitch.conf",
    ),
    *(
        "os-release",
        "passwd",
        "pki",
        "protocols",
        "resolv.conf",
        "rpc",
        "services",
        "ssl",
        "terminfo",
        "wgetrc",
    ),
)
"""What programs read of /etc that is no secret of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideSandbox:
    """What is particular to one step."""

    network: str
    context: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        """Have in `directory` the files that containerfiles/buildah/sandbox.sh reads. Raises EngineError."""
        targets = ["/proc", "/dev", "/sys", _CONTEXT]
        (directory / "mount-points").write_bytes(sandbox.joined(targets, b"\n"))
        file = directory / "arguments"
        file.touch(mode=0o600)
        file.write_bytes(sandbox.joined(self._arguments(), b"\0"))
        sandbox.write_rest(directory, network=self.network)

    def _arguments(self) -> list[str]:
        words = ["--ro-bind", "/usr", "/usr", *_links()]
        for name in _OF_ETC:
            words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        words += sandbox.system()
        for place in ("/tmp", "/var/tmp"):  # noqa: S108 (inside)
            words += ["--perms", "1777", "--tmpfs", place]
        words += ["--tmpfs", "/root", "--tmpfs", "/run/lock"]
        for prefix in dict.fromkeys((sys.base_prefix, sys.prefix)):  # which may be below /tmp or /root
            if not Path(prefix).is_relative_to("/usr"):
                words += ["--ro-bind", prefix, prefix]
        words += ["--ro-bind", str(self.context), _CONTEXT, "--ro-bind", str(self.context), TREE + _CONTEXT]
        words += ["--proc", f"{TREE}/proc", "--dev", f"{TREE}/dev", "--ro-bind", "/sys", f"{TREE}/sys"]
        environment = {"DIBO_PYTHON": sys.executable, "HOME": "/root", **self.environment}
        return [*words, *sandbox.confining(self.network, environment)]


def _links() -> Sequence[str]:
    """/bin and the like: links into /usr, or directories of their own."""
    words: list[str] = []
    for path in map(Path, _LINKS):
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    return words
