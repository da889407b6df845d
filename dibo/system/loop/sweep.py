"""What a killed run left of its loop devices, for the next one: the mappings on them, and those that they kept alive.

Without mappings there is nothing: the kernel detached the device when the run died.
"""

from __future__ import annotations

import os
from pathlib import Path

from dibo.errors import LoopError
from dibo.system.loop.device import detach, devices_on
from dibo.system.loop.holders import remove_mappings


def sweep(value: str) -> None:
    """Take down what still stands for the file `value` of a run's journal. Raises LoopError: then it stays there."""
    numbers = devices_on(Path(value))
    if numbers and os.geteuid() != 0:
        raise LoopError(f"/dev/loop{numbers[0]} is left of a killed run, and only root can detach it")
    for number in numbers:
        remove_mappings(number)
        detach(number)
