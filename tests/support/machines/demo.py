"""Boot a disk image in QEMU and watch it: python -m tests.support.machines.demo IMAGE

The image is not changed. Shows the console, logs in with a key made for this one boot, shows what the first
boot did, and presses the power button. Needs no KVM; without it a boot takes a minute or two.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from dibo.errors import DiboError, Interrupted
from dibo.system import signals
from tests.support.machines.cloud_init_seed import make_seed
from tests.support.machines.qemu import TOOLS, Firmware, Machine, MachineError
from tests.support.programs import what_is_missing

_BAR = "  | "
_LOOK = (
    'echo "I am $(id -un) on $(hostname), $(. /etc/os-release; echo "$PRETTY_NAME"), kernel $(uname -r)";'
    "df -h --output=source,size,used,target /;"
    'echo "first-boot hooks:"; sudo journalctl -b --no-pager -o cat -t first-boot | sed "s/^/    /";'
    'failed=$(systemctl --failed --no-legend --plain); echo "failed units: ${failed:-none}"'
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tests.support.machines.demo", description="Boot a disk image in QEMU."
    )
    parser.add_argument("image", type=Path, help="a disk image; it is not changed")
    parser.add_argument("--firmware", choices=[each.value for each in Firmware], default="bios")
    parser.add_argument("--user", default="debian", help="the image's default user (%(default)s)")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="dibo-demo-"))
    try:
        with signals.interruptible():
            demo(options.image, Firmware(options.firmware), options.user, directory)
    except (MachineError, DiboError) as error:  # the directory stays: it has the whole console
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        if isinstance(error, DiboError) and error.hint:
            print(error.hint, file=sys.stderr)
        return 1
    except Interrupted as signal:
        print("\nInterrupted; the machine is gone.", file=sys.stderr)
        shutil.rmtree(directory)
        return 128 + signal.signum
    shutil.rmtree(directory)
    return 0


def demo(image: Path, firmware: Firmware, user: str, directory: Path) -> None:
    """Boot, show, power off. Raises MachineError, DiboError."""
    if missing := what_is_missing(*TOOLS):
        raise MachineError(missing)
    if not image.is_file():
        raise MachineError(f"there is no image {image}")
    say(f"Making an ssh key and a NoCloud seed for the user {user}")
    seed = make_seed(directory, user=user, hostname="demo")
    say(f"Booting {image} in QEMU by {firmware.name}; the console of the machine:")
    start = time.monotonic()
    with Machine(image, directory=directory, firmware=firmware, seed=seed, name="demo") as machine:
        console = _Console()
        up = machine.wait_until_up(watch=console.show)
        console.end()
        took = time.monotonic() - start
        say(f"The marker of first boot came after {took:.0f} s: {up.state}. Logging in:")
        console.show(machine.ssh(_LOOK))
        console.end()
        say("Pressing the power button")
        machine.shutdown()
    say(f"It went down by itself. {image} is as it was: each boot of it is a first boot.")


def say(what: str) -> None:
    print(f"==> {what}", flush=True)


class _Console:
    """Prints text as it comes, each line behind a bar."""

    def __init__(self) -> None:
        self._at_start = True

    def show(self, text: str) -> None:
        for line in text.splitlines(keepends=True):
            print((_BAR if self._at_start else "") + line, end="")
            self._at_start = line.endswith("\n")
        sys.stdout.flush()

    def end(self) -> None:
        """Finish a line that has not ended, as a prompt has not."""
        if not self._at_start:
            print(flush=True)
        self._at_start = True


if __name__ == "__main__":
    sys.exit(main())
