"""What a pipeline is made of, whichever service runs it, and how its file is written."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from dibo.bake.pipelines.jobs import ImageJob, Jobs, LayerJob

_WIDTH: Final = 1 << 20
"""Of lines: none is folded."""

FIRST_LINE: Final = "# Written by dibo from the images of this project"
"""How files begin that may be written again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The jobs of a project, and what they run with."""

    jobs: Jobs
    again: str
    """The command line that writes the file again."""
    options: tuple[str, ...] = ()
    """What each `dibo bake` of the pipeline gets, such as the project file."""
    cache: str | None = None
    """Repository HOST/PATH in which layers are stored; None: the service's own registry."""
    dibo: str | None = None
    """Where jobs get dibo from: an image of GitLab's, a requirement of pip for GitHub; None: a default."""
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Variables that have the values of secrets, by image."""
    has_epoch: bool = False
    """Whether the project says its epoch: then packages are not chosen, and nothing is to be locked."""
    has_lock: bool = False
    """Whether the repository has a dibo.lock at its top, where jobs run."""

    def bake_layers(self, job: LayerJob, *, is_locked: bool = False) -> str:
        return shlex.join(
            ["dibo", "bake", *self.options, *self._locked(is_locked=is_locked), "--layers", *job.images]
        )

    def bake_image(self, job: ImageJob, *, is_locked: bool = False) -> str:
        return shlex.join(["dibo", "bake", *self.options, *self._locked(is_locked=is_locked), job.image])

    def write_lock(self) -> str:
        return shlex.join(["dibo", "lock", *self.options])

    def _locked(self, *, is_locked: bool) -> list[str]:
        return ["--locked"] if is_locked or self.has_lock else []

    def variables_of(self, images: Iterable[str]) -> tuple[str, ...]:
        """The variables with secrets that any of these images needs."""
        return tuple(sorted({name for image in images for name in self.secrets.get(image, ())}))

    def variables_of_layers(self, job: LayerJob) -> tuple[str, ...]:
        """The variables with secrets that its layers can need: what they need, each of its images needs."""
        several = [set(self.secrets.get(image, ())) for image in job.images]
        return tuple(sorted(set.intersection(*several)))


def written(pipeline: Pipeline, document: Mapping[str, Any]) -> str:
    """The file: the same jobs always give the same bytes."""
    head = (
        f"{FIRST_LINE}: changes here are lost. To write it again,\n"
        f"#     {pipeline.again}\n"
        "# and the same with --check fails where this file is out of date.\n"
    )
    text = yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=_WIDTH)
    sections = text.replace("\n", "\n\n").split("\n\n")  # one line each
    lines = [f"\n{line}" if line and not line.startswith((" ", "-")) else line for line in sections]
    return head + "\n".join(lines).rstrip("\n") + "\n"


class _Dumper(yaml.SafeDumper):
    """Scripts as blocks, short lists of words in one line, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, *_: Any, **options: Any) -> None:
        super().increase_indent(flow=options.get("flow", False), indentless=False)


class Words(list[str]):
    """A list that is written in one line."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_words(dumper: yaml.SafeDumper, words: Words) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", words, flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(Words, _represent_words)
