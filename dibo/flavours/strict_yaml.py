"""YAML as it is meant, within bounds.

What stands twice in a mapping is an error, where YAML's own loader lets the last one win. A document that is nested
deeper than any is meant to be is refused, and so is one whose aliases stand for much more than what is written: nine
lines of nine aliases each stand for a billion values. Errors have the line.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import yaml

MOST_LEVELS: Final = 64
MOST_VALUES: Final = 100_000
"""That aliases may stand for, beside those that are written."""


class _Bounded(yaml.composer.Composer):
    _level = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._level += 1
        try:
            if self._level > MOST_LEVELS:
                mark = self.peek_event().start_mark  # type: ignore[attr-defined]
                raise _refused(f"more than {MOST_LEVELS} lists and mappings in each other", mark)
            return super().compose_node(parent, index)
        finally:
            self._level -= 1

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _Measured(node)
        return node


class _Measured:
    """How many values the nodes of a document stand for."""

    def __init__(self, root: yaml.Node) -> None:
        self._values: dict[yaml.Node, int] = {}
        self._open: set[yaml.Node] = set()
        self._measure(root)

    def _measure(self, node: yaml.Node) -> int:
        if node in self._open:
            raise _refused("an alias stands for what it is in", node.start_mark)
        if node not in self._values:
            self._open.add(node)
            values = 1 + sum(map(self._measure, children(node)))
            self._open.discard(node)
            self._values[node] = values
            if values > MOST_VALUES + len(self._values):
                raise _refused(f"aliases stand for more than {MOST_VALUES} values", node.start_mark)
        return self._values[node]


def children(node: yaml.Node) -> list[yaml.Node]:
    """The nodes in a list or a mapping, keys too."""
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return []


def _refused(problem: str, mark: Any) -> yaml.YAMLError:
    return yaml.composer.ComposerError(None, None, problem, mark)


def refuse_repeated_keys(node: yaml.MappingNode) -> None:
    """Raises yaml.YAMLError."""
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands there twice", key.start_mark
                )
            seen.add(key.value)


class _Strict(_Bounded, yaml.constructor.BaseConstructor):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        refuse_repeated_keys(node)
        return super().construct_mapping(node, deep=deep)


class _Loader(_Strict, yaml.SafeLoader):
    pass


class _Texts(_Strict, yaml.BaseLoader):
    pass


def load(text: str | bytes) -> object:
    """The value of one document. Raises yaml.YAMLError, UnicodeDecodeError."""
    return _load(text, _Loader)


def load_texts(text: str | bytes) -> object:
    """The same, where every scalar is the text that stands there: `52:54:00:12:34:56` is no number of base 60, `no` is
    no boolean, `007` is not 7. Raises yaml.YAMLError, UnicodeDecodeError.
    """
    return _load(text, _Texts)


def load_node(text: str | bytes) -> tuple[Any, yaml.Node | None]:
    """The loader, and the node of one document, for readers that need more than values: located_yaml. Raises
    yaml.YAMLError, UnicodeDecodeError."""
    loader = _Loader(text)
    return loader, loader.get_single_node()


def _load(text: str | bytes, loader: Any) -> object:
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506  a safe one
    except UnicodeDecodeError:
        raise
    except (ValueError, OverflowError) as error:  # a day that no month has, a number of a million digits
        raise yaml.YAMLError(f"invalid value: {error}") from error
