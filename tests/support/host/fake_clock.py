"""Another day for what runs in the steps of a build: real buildah, whose steps have the clock of libfaketime.

The library is put where a step's files are, which are mounted and in no layer, so a build is not told from any other.
"""

from __future__ import annotations

from pathlib import Path

_SCRIPT = """#!/bin/sh
real=/usr/bin/buildah
[ "$1" = run ] || exec $real "$@"
shift
for word; do
    case $word in
        --volume=*:/tmp/in_target.d:ro | --volume=*:/mnt:ro)
            rest=${word#--volume=}
            place=${rest#*:}
            cp LIBRARY "${rest%%:*}/.clock.so"
            exec $real run --env "LD_PRELOAD=${place%:ro}/.clock.so" --env FAKETIME=+40d --env NO_FAKE_STAT=1 "$@" ;;
        --) break ;;
    esac
done
exec $real run "$@"
"""


def buildah_forty_days_later(directory: Path) -> Path:
    """A new directory for the front of PATH. Times of files stay true."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    place = directory / "clock"
    place.mkdir()
    (place / "buildah").write_text(_SCRIPT.replace("LIBRARY", str(library)))
    (place / "buildah").chmod(0o755)
    return place
