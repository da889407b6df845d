"""What a command of dibo must leave on the host as it found it.

Other programs run meanwhile, so what is looked for is what is new.
"""

from __future__ import annotations

from pathlib import Path

from dibo import process


def host_state() -> tuple[str, ...]:
    """Mounts, loop devices, and processes that container tools leave."""
    mounts = sorted(Path("/proc/mounts").read_text().splitlines())
    loops = process.run(["losetup", "--list", "--noheadings"], capture=True, check=False).stdout
    names = []
    for pid in process.process_table():
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        if name.startswith(("buildah", "fuse-overlayfs", "mmdebstrap", "catatonit")):
            names.append(name)
    return (*mounts, loops, *sorted(names))


def new_on_host(before: tuple[str, ...]) -> list[str]:
    """What was not there before."""
    return sorted(set(host_state()) - set(before))
