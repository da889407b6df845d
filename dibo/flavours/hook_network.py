"""What in a hook needs the network: commands that fetch, in shell scripts, one warning for each hook.

Judged are commands at the beginning of a command, so that `install curl` is none. What a flavour says under `network`
decides: where its steps have none, such a command fails; where it does not say, what is fetched is in no key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from dibo.flavours.model import Flavour, Hook, Phase

_BEFORE: Final = (
    r"(?:^|[;&|({!`]|\b(?:then|do|else|if|elif|while|until|command|exec|env|sudo|time|xargs))\s*"
    r"(?:[A-Za-z_]\w*=\S*\s+)*(?:/usr/bin/)?"
)
_OPTIONS: Final = r"(?:\s+-\S+(?:\s+[^\s-]\S*=\S*|\s+/\S*)?)*"
_FETCHES: Final = re.compile(
    _BEFORE + rf"(?P<command>curl|wget|git{_OPTIONS}\s+(?:clone|fetch|pull)|"
    rf"(?:python3?\s+-m\s+)?pip3?{_OPTIONS}\s+(?:install|download))(?=\s|$)"
)
_INSTALLS: Final = re.compile(
    _BEFORE + rf"(?P<command>apt(?:-get)?{_OPTIONS}\s+(?:update|install|upgrade|dist-upgrade))(?=\s|$)"
)


def network_warnings(lines: Iterable[str], place: str, hook: Hook, flavour: Flavour) -> Iterator[str]:
    """A warning for the first command of a hook's code that is in doubt. `lines` are without quotes and comments."""
    if hook.phase not in (Phase.PRE_INSTALL, Phase.INSTALL):
        return
    has_network = flavour.may_use_network(hook.phase)
    if has_network and flavour.network is not None:
        return  # as its author said
    for number, line in enumerate(lines, start=1):
        match = _FETCHES.search(line) or (None if has_network else _INSTALLS.search(line))
        if match is None:
            continue
        command = " ".join(match["command"].split())
        if has_network:
            yield (
                f"{place}, line {number}: no key covers what {command} fetches; list it under `fetch` in flavour.yaml, "
                "or say that it is meant: `network: true`"
            )
        else:
            yield (
                f"{place}, line {number}: {command} needs the network, which steps of {hook.phase} do not have by "
                "`network` in flavour.yaml; list what it fetches under `fetch`"
            )
        return
