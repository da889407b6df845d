"""A cold build of the vm stack, beside one `mmdebstrap` run with the same packages plus the conversion.

Usage: python bench/cold_build.py [EPOCH]. Takes some minutes and a Debian mirror. The order is dibo, the conversion
alone (the same under another name, every layer cached), mmdebstrap; the packages are those that dibo's image has. With
an epoch, packages are not chosen before the build, but by apt in the root.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from layers import ENVIRONMENT, dibo_program, store_of_our_own, timed


def measured(argv: list[str]) -> tuple[float, float]:
    """Seconds, and seconds of CPU of the command and all that it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = timed(argv)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    with store_of_our_own() as top:
        options = ["--base", "debian", "--cache-dir", str(top / "cache")]
        options += ["--epoch", sys.argv[1]] if sys.argv[1:] else []
        create = [dibo_program("disk-image-create"), *options, "vm", "-o"]
        cold = measured([*create, str(top / "vm")])
        conversion = measured([*create, str(top / "again")])  # the first artefact would be left alone
        query = "dpkg-query --show --showformat='${Package}\\n'"
        shell = [dibo_program("dibo"), "shell", *options, "--run", query, "vm"]
        listed = subprocess.run(shell, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
        names = ",".join(sorted(set(listed.split())))
        mode = "root" if os.geteuid() == 0 else "unshare"
        with tempfile.TemporaryDirectory() as open_to_all:  # the mapped root may not enter a home
            target = Path(open_to_all) / "root.tar"
            argv = ["mmdebstrap", f"--mode={mode}", "--variant=minbase", f"--include={names}", "trixie"]
            plain = measured([*argv, str(target)])
    ratio, of_cpu = (cold[unit] / (plain[unit] + conversion[unit]) for unit in (0, 1))
    print(f"cold build of vm: dibo / (mmdebstrap + conversion) = {ratio:.2f} (wanted: at most 1.15)")
    number = len(listed.split())
    print(
        f"  dibo {cold[0]:.0f} s; mmdebstrap of {number} packages {plain[0]:.0f} s, conversion {conversion[0]:.0f} s"
    )
    print(
        f"the same in seconds of CPU: {of_cpu:.2f}: {cold[1]:.0f} s; {plain[1]:.0f} s, {conversion[1]:.0f} s"
    )


if __name__ == "__main__":
    main()
