"""From the flavours asked for to all that are needed, in order.

The order follows the request: flavours from left to right, each right after those that it needs and that are not in
the stack yet. No graph sort: the same words in the same order always give the same stack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dibo.errors import StackError, UnknownFlavour
from dibo.flavours.model import Flavour
from dibo.layout.merge import merge
from dibo.layout.parse import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Flavours in order, complete, without circles or clashes."""

    flavours: tuple[Flavour, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(flavour.name for flavour in self.flavours)

    @property
    def all_names(self) -> tuple[str, ...]:
        """For people: also of what is no flavour."""
        return self.names

    def get(self, name: str) -> Flavour:
        return next(flavour for flavour in self.flavours if flavour.name == name)

    def needed_by(self, name: str) -> tuple[str, ...]:
        """Names of all that a flavour needs, also through others, in the order of the stack."""
        needed: set[str] = set()
        queue = [name]
        while queue:
            for need in self.get(queue.pop()).needs:
                if need not in needed:
                    needed.add(need)
                    queue.append(need)
        return tuple(flavour_name for flavour_name in self.names if flavour_name in needed)

    @property
    def disk(self) -> Statement | None:
        """What its flavours say about the disk together, if any does. Raises LayoutError where two contradict."""
        return merge(
            [
                (f"the flavour {flavour.name!r}", flavour.disk)
                for flavour in self.flavours
                if flavour.disk is not None
            ]
        )

    def environment(self, chosen: Callable[[str], str | None]) -> dict[str, str]:
        """The declared variables: what `chosen` says of a name, else the default of the last flavour that has one."""
        values: dict[str, str] = {}
        for flavour in self.flavours:
            values.update(flavour.environment)
        return {name: default if (own := chosen(name)) is None else own for name, default in values.items()}


def make_stack(asked: Iterable[str], get: Callable[[str], Flavour], *, architecture: str) -> Stack:
    """The stack for `asked`. `get` reads a flavour by name. Raises StackError, LayoutError where two
    of them contradict each other about the disk, and what `get` raises."""
    done: dict[str, Flavour] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise StackError(
                f"flavours need each other in a circle: {circle}", hint="remove one of these `needs`"
            )
        if name in done:
            return
        flavour = _get(name, path)
        for need in flavour.needs:
            visit(need, (*path, name))
        done[name] = flavour

    def _get(name: str, path: tuple[str, ...]) -> Flavour:
        try:
            return get(name)
        except UnknownFlavour as error:
            if not path:
                raise
            raise UnknownFlavour(
                f"the flavour {path[-1]!r} needs {name!r}: {error.message}", hint=error.hint
            ) from error

    for name in asked:
        visit(name, ())
    stack = Stack(flavours=tuple(done.values()))
    _check(stack, architecture)
    return stack


def _check(stack: Stack, architecture: str) -> None:
    names = set(stack.names)
    for flavour in stack.flavours:
        for clashing in flavour.clashes:
            if clashing in names and clashing != flavour.name:
                raise StackError(
                    f"the flavours {flavour.name!r} and {clashing!r} clash",
                    hint=f"{flavour.name}'s flavour.yaml says so; leave one of them out",
                )
        if flavour.architectures and architecture not in flavour.architectures:
            raise StackError(
                f"the flavour {flavour.name!r} is not for {architecture}",
                hint=f"it is for {', '.join(flavour.architectures)}; -a chooses the architecture",
            )
    _ = stack.disk
