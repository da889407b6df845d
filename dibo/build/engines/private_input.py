"""Variables and secrets for a command, on its standard input: for engines that would write them down anywhere else.

docker's daemon keeps the environment of a container in its databases; `buildah run` takes it as arguments, which
everybody on the machine can read. What goes by on standard input nothing keeps.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dibo.build.engine import SECRETS
from dibo.errors import UsageError

# Lines are `variable NAME VALUE` and `secret NAME BASE64`; an empty one ends them. `printf` is the shell's own: no list
# of processes shows its arguments.
READER: Final = (
    "sh",
    "-c",
    f"""printf '\\036begin\\n'
umask 0377
while read -r kind name value && [ -n "$kind" ]; do
    case $kind in
        variable) export "$name=$value" ;;
        secret) printf %s "$value" | base64 -d > {SECRETS}/"$name" || exit ;;
    esac
done
umask 0022
unset kind name value
exec "$@" < /dev/null""",
    "dibo",
)
"""What reads the input, before the command that gets it. It begins with a mark for the listener of the engine."""


def private_input(variables: Mapping[str, str], secrets: Mapping[str, Path]) -> bytes:
    """The input. Values of variables are one line; secrets are files. Raises UsageError."""
    for name, value in variables.items():
        if "\n" in value or "\0" in value:  # what follows would be read as another variable, or a secret
            raise UsageError(f"{name}: a value of several lines cannot be given to a step here")
    lines = [f"variable {name} {value}\n" for name, value in variables.items()]
    for name, path in secrets.items():
        lines.append(f"secret {name} {base64.b64encode(path.read_bytes()).decode()}\n")
    return "".join([*lines, "\n"]).encode(errors="surrogateescape")
