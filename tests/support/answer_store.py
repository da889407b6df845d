"""A store of chosen packages in memory."""

from __future__ import annotations

from collections.abc import Sequence


class MemoryAnswers(dict[str, str]):
    """By name. `expected` are those that were asked for at once."""

    expected: tuple[str, ...] = ()

    def expect(self, names: Sequence[str]) -> None:
        self.expected = tuple(names)

    def load(self, name: str) -> str | None:
        return self.get(name)
