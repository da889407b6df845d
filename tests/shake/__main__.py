"""`make shake`: for SHAKE_SECONDS (120) faults of all kinds, one after the other, from SHAKE_SEED if that is given.

What goes wrong stops the run with the seed of the round: `make shake SHAKE_SEED=… SHAKE_ONLY=…` goes there again.
At the end a table says what was tried, how often, with what result: docs/reference/faults.md is made of such tables.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.shake.faults import FAULTS, Round, clear
from tests.shake.sample import make_sample


def main() -> None:
    seconds = float(os.environ.get("SHAKE_SECONDS") or "120")
    given = os.environ.get("SHAKE_SEED")
    seed = int(given) if given else random.SystemRandom().randrange(1 << 40)
    names = (os.environ.get("SHAKE_ONLY") or ",".join(FAULTS)).split(",")
    print(f"shaking for {seconds:.0f} s, from seed {seed}: {', '.join(names)}", flush=True)
    results = {name: Counter[str]() for name in names}
    with tempfile.TemporaryDirectory(prefix="dibo-shake-") as name:
        sample = make_sample(Path(name))
        directory = Path(name) / "round"
        directory.mkdir()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for fault in names:
                try:
                    results[fault][FAULTS[fault](Round(seed=seed, directory=directory, sample=sample))] += 1
                except BaseException:
                    again = f"make shake SHAKE_SEED={seed} SHAKE_ONLY={fault}"
                    print(f"{fault} went wrong in round {seed}: {again}", file=sys.stderr, flush=True)
                    raise
                clear(directory)
            seed += 1
    print(table(results))


def table(results: dict[str, Counter[str]]) -> str:
    """What was tried, how often, with what result, as Markdown."""
    rows = ["| fault | rounds | results |", "|---|---|---|"]
    for fault, counts in results.items():
        ends = ", ".join(f"{end}: {count}" for end, count in sorted(counts.items()))
        rows.append(f"| {fault} | {counts.total()} | {ends} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
