"""A group of elements that are built in one stack, and what each is to leave there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelGroup:
    """Elements that one stack holds.

    `traces` has for each element what it leaves in the image, in the words of `tests.support.wheel.traces`; an element
    that is in several groups counts once.
    """

    system: tuple[str, ...]
    """The operating system and other elements asked for that are not counted."""
    traces: Mapping[str, tuple[str, ...]]
    base: str = ""
    types: str = "tar"
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Elements that are written for the group: texts by path. Those below a phase are scripts."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Files of the user's, by path; `{inputs}` in a variable is their directory, `{registry}` a registry with the image
    `rpm:1` of stand-ins. Programs begin with `#!`."""
    repositories: tuple[str, ...] = ()
    """Directories of `inputs` that are repositories of git."""

    @property
    def elements(self) -> tuple[str, ...]:
        return (*self.system, *self.traces)
