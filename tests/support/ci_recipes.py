"""What the pages about CI hold: their YAML, and the commands of dibo in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.markdown import PROJECT

HOW_TO = PROJECT / "docs" / "how-to"
PAGES = tuple(
    HOW_TO / name for name in ("ci-without-root.md", "gitlab-ci.md", "github-actions.md", "kubernetes.md")
)
PROGRAMS = ("dibo", "disk-image-create")


def documents(page: Path) -> list[Any]:
    """Each block of YAML of a page, read."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [yaml.safe_load(block) for block in blocks]


def commands(page: Path) -> list[list[str]]:
    """Every command line of dibo on a page: in its YAML, and in its indented blocks."""
    found = [words for document in documents(page) for words in _in(document)]
    indented = re.findall(r"^    (\S.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.M)
    return found + [shlex.split(line, comments=True) for line in indented if _is_command(line)]


def _is_command(line: str) -> bool:
    return line.partition(" ")[0] in PROGRAMS


def _in(value: Any) -> Iterator[list[str]]:
    match value:
        case str():
            yield from (shlex.split(line) for line in value.splitlines() if _is_command(line))
        case {"command": list(words)}:
            yield [str(word) for word in (*words, *value.get("args", ()))]
        case dict():
            for each in value.values():
                yield from _in(each)
        case list():
            for each in value:
                yield from _in(each)


def container(name: str) -> dict[str, Any]:
    """The only container of the pod `name` on the page about Kubernetes."""
    pods = {each["metadata"]["name"]: each["spec"] for each in documents(HOW_TO / "kubernetes.md")}
    (found,) = pods[name]["containers"]
    return dict(found)


def docker_options(context: dict[str, Any]) -> list[str]:
    """The security context of a container, as options of `docker run`. Raises KeyError for what it does not know."""
    options = ["--user", f"{context.pop('runAsUser')}:{context.pop('runAsGroup')}"]
    capabilities = context.pop("capabilities")
    options += [word for name in capabilities.get("drop", ()) for word in ("--cap-drop", name)]
    options += [word for name in capabilities.get("add", ()) for word in ("--cap-add", name)]
    if not context.pop("allowPrivilegeEscalation"):
        options += ["--security-opt", "no-new-privileges"]
    if context.pop("readOnlyRootFilesystem", False):
        options.append("--read-only")
    if context.pop("seccompProfile") == {"type": "Unconfined"}:
        options += ["--security-opt", "seccomp=unconfined"]
    if context.pop("appArmorProfile", None) == {"type": "Unconfined"}:
        options += ["--security-opt", "apparmor=unconfined"]
    context.pop("runAsNonRoot", None)
    if context:
        raise KeyError(f"no option of docker is known for {context}")
    return options
