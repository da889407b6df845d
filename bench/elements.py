"""The same elements of diskimage-builder, built by itself as root and by dibo as an ordinary user, both to a tar.

Usage: python bench/elements.py. Takes a quarter of an hour, a Debian mirror and root, without which diskimage-builder
does nothing; runs from a clone: it starts diskimage-builder as tests do (tests/support/beside_dib). Cold is without
packages, layers or images of before on both sides. Then a script of the user's own element changes, then nothing.
diskimage-builder keeps downloaded packages and builds all again whatever has changed: its second build, with the
changed script, stands beside both of dibo's.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support import dib, user
from tests.support.beside_dib.engine import dib_engine, mirrors
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.host.installed_dibo import installed_dibo

RELEASE = "bookworm"
ELEMENTS = (
    *("debian-minimal", "devuser", "dhcp-all-interfaces", "enable-serial-console", "growroot"),
    *("openssh-server", "runtime-ssh-host-keys", "web"),
)
VARIABLES = {"DIB_RELEASE": RELEASE, "DIB_PYTHON_VERSION": "3", "DIB_DEV_USER_USERNAME": "otter"}
WANTED = {"cold": "dibo at most 1.0", "one element changed": "at least 15", "nothing changed": "at least 100"}


def write_web(directory: Path, text: str) -> None:
    """The user's own element: a package, a script that says `text`, and a unit that it enables."""
    files = {
        "element-deps": "package-installs\n",
        "package-installs.yaml": "nginx-light:\n",
        "install.d/80-web": f"#!/bin/bash\nset -eu -o pipefail\necho {text} > /etc/web\n",
        "post-install.d/80-web": "#!/bin/bash\nset -eu -o pipefail\nsystemctl enable nginx.service\n",
    }
    for path, content in files.items():
        file = directory / "web" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(0o755 if ".d/" in path else 0o644)
    for entry in (directory, *directory.rglob("*.d"), directory / "web"):
        entry.chmod(0o755)


def seconds_of(build: Callable[[], None]) -> float:
    begun = time.monotonic()
    build()
    return time.monotonic() - begun


def build_with_dibo(place: BuildEnv, variables: dict[str, str]) -> None:
    options = ("-n", "-t", "tar", "-o", place.temporary / "image")
    done = place.run("disk-image-create", *options, *ELEMENTS, environment=variables)
    if done.code:
        sys.exit(done.err)


def show(name: str, theirs: float, ours: float) -> None:
    ratio = ours / theirs if name == "cold" else theirs / ours
    print(
        f"{name}: {ratio:.2f} (wanted: {WANTED[name]}); diskimage-builder {theirs:.1f} s, dibo {ours:.1f} s"
    )


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("it needs root: for diskimage-builder")
    installed_dibo()  # takes time where this state of it was not installed yet
    with dib_engine() as engine, build_env(user.need_ordinary_user()) as place:
        elements = place.directory / "elements"
        write_web(elements, "first")
        path = f"{elements}:{dib.unpack(place.directory / 'wheel')}"
        of_theirs = {**VARIABLES, **mirrors(RELEASE), "ELEMENTS_PATH": str(elements)}
        of_ours = {**VARIABLES, "ELEMENTS_PATH": path, "DIBO_BASE": ""}

        def theirs() -> None:
            engine.build("image", ELEMENTS, of_theirs)

        def ours() -> None:
            build_with_dibo(place, of_ours)

        show("cold", seconds_of(theirs), seconds_of(ours))
        write_web(elements, "second")
        again = seconds_of(theirs)
        show("one element changed", again, seconds_of(ours))
        show("nothing changed", again, seconds_of(ours))


if __name__ == "__main__":
    main()
