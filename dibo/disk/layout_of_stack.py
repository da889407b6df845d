"""Which layout the disk of a stack gets, where elements of it may describe one."""

from __future__ import annotations

from dataclasses import dataclass

from dibo.disk.layout_choice import GivenLayout, chosen
from dibo.disk.request import BARE_LABEL
from dibo.elements.stack import MixedStack
from dibo.flavours.stack import Stack
from dibo.layout.model import Headroom, Layout
from dibo.settings.settings import DEFAULT_SIZE_SET_BY


def chosen_for(stack: Stack, given: GivenLayout | None) -> Layout | None:
    """That which is given, else what elements of the stack describe, else as `chosen`. Raises LayoutError."""
    if given is None and isinstance(stack, MixedStack) and stack.layout is not None:
        return stack.layout
    return chosen(stack.disk, given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """How a file system is made on a disk without partitions."""

    label: str = BARE_LABEL
    headroom: Headroom | None = None
    """What stays free beside its files; None where the size of the disk is set."""


def bare_for(stack: Stack, *, set_by: str) -> Bare:
    """As elements of the stack say. Where nothing set a size, theirs is as small as fits."""
    if not isinstance(stack, MixedStack) or stack.disk_of_elements is None:
        return Bare()
    disk = stack.disk_of_elements
    return Bare(label=disk.root_label, headroom=disk.headroom if set_by == DEFAULT_SIZE_SET_BY else None)
