"""A cold build of the vm stack, beside one `mmdebstrap` run with the same packages plus the conversion.

Usage: python bench/cold_build.py. Takes some minutes and a Debian mirror. The order is dibo, the conversion alone (the
same command again, every layer cached), mmdebstrap; the packages are those that dibo's image has.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from layers import ENVIRONMENT, dibo_program, store_of_our_own, timed


def main() -> None:
    with store_of_our_own() as top:
        options = [
            "--base",
            "debian",
            "--cache-dir",
            str(top / "cache"),
            "--epoch",
            f"bench-{int(time.time())}",
        ]
        create = [dibo_program("disk-image-create"), "-o", str(top / "vm"), *options, "vm"]
        cold = timed(create)
        conversion = timed(create)
        query = "dpkg-query --show --showformat='${Package}\\n'"
        shell = [dibo_program("dibo"), "shell", *options, "--run", query, "vm"]
        listed = subprocess.run(shell, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
        names = ",".join(sorted(set(listed.split())))
        mode = "root" if os.geteuid() == 0 else "unshare"
        with tempfile.TemporaryDirectory() as open_to_all:  # the mapped root may not enter a home
            target = Path(open_to_all) / "root.tar"
            argv = ["mmdebstrap", f"--mode={mode}", "--variant=minbase", f"--include={names}", "trixie"]
            plain = timed([*argv, str(target)])
    ratio = cold / (plain + conversion)
    print(f"cold build of vm: dibo / (mmdebstrap + conversion) = {ratio:.2f} (wanted: at most 1.15)")
    number = len(listed.split())
    print(
        f"  dibo {cold:.0f} s; mmdebstrap of {number} packages {plain:.0f} s, conversion {conversion:.0f} s"
    )


if __name__ == "__main__":
    main()
