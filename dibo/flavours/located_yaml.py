"""YAML with the line of each value and the text that stands there, within the bounds of strict_yaml.

A scalar keeps its text, so that a reader can take `3.10` for the text that it is, or say what YAML makes of it: the
number 3.1. YAML 1.1 counts, in which `no` and `on` are booleans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

import yaml

from dibo.flavours.strict_yaml import children, load_node, refuse_repeated_keys

_TRUE: Final = ("yes", "true", "on")


class YamlKind(Enum):
    """What YAML takes a value for; the values are words for messages."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "number"
    FRACTION = "fraction"
    NULL = "null"
    LIST = "list"
    MAPPING = "mapping"


_KINDS: Final = {
    "str": YamlKind.TEXT,
    "timestamp": YamlKind.TEXT,  # text for YAML 1.2, and for every reader of JSON
    "value": YamlKind.TEXT,  # a lone =
    "bool": YamlKind.BOOLEAN,
    "int": YamlKind.INTEGER,
    "float": YamlKind.FRACTION,
    "null": YamlKind.NULL,
}
_PREFIX: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedValue:
    """A value in a file. `text` is that of a scalar, without quotes; `line` counts from 1, and is that of the key where
    there is one."""

    kind: YamlKind
    line: int
    text: str = ""
    items: tuple[LocatedValue, ...] = ()
    mapping: Mapping[str, LocatedValue] | None = None

    @property
    def is_true(self) -> bool:
        """Of a boolean."""
        return self.text.lower() in _TRUE

    def plain(self) -> Any:
        """The value without lines, as strict_yaml.load has it, but with numbers as texts of other forms than 12 and
        1.5."""
        match self.kind:
            case YamlKind.MAPPING:
                return {key: value.plain() for key, value in (self.mapping or {}).items()}
            case YamlKind.LIST:
                return [item.plain() for item in self.items]
            case YamlKind.BOOLEAN:
                return self.is_true
            case YamlKind.NULL:
                return None
            case YamlKind.INTEGER | YamlKind.FRACTION:
                return _number(self.text)
            case YamlKind.TEXT:
                return self.text


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            if str(kind(text)) == text:
                return kind(text)
        except ValueError:
            continue
    return text


def load_located(text: str | bytes) -> LocatedValue:
    """The value of one document. Raises yaml.YAMLError, UnicodeDecodeError."""
    loader, root = load_node(text)
    if root is None:
        return LocatedValue(kind=YamlKind.NULL, line=1)
    _check(root, set())
    return _Reader(loader).read(root)


def _check(node: yaml.Node, checked: set[yaml.Node]) -> None:
    """Before merges put keys into mappings that have them already. Raises yaml.YAMLError."""
    if node in checked:
        return
    checked.add(node)
    if isinstance(node, yaml.MappingNode):
        refuse_repeated_keys(node)
    for child in children(node):
        _check(child, checked)


class _Reader:
    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._read: dict[yaml.Node, LocatedValue] = {}

    def read(self, node: yaml.Node) -> LocatedValue:
        if node not in self._read:
            self._read[node] = self._new(node)
        return self._read[node]

    def _new(self, node: yaml.Node) -> LocatedValue:
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            self._loader.flatten_mapping(node)  # merges << below the mapping's own keys
            mapping = {}
            for key, value in node.value:
                mapping[_key(key)] = replace(self.read(value), line=key.start_mark.line + 1)
            return LocatedValue(kind=YamlKind.MAPPING, line=line, mapping=mapping)
        if isinstance(node, yaml.SequenceNode):
            items = tuple(self.read(item) for item in node.value)
            return LocatedValue(kind=YamlKind.LIST, line=line, items=items)
        kind = _KINDS.get(str(node.tag).removeprefix(_PREFIX))
        if kind is None:
            raise _error(f"the tag {node.tag} is not known", node)
        return LocatedValue(kind=kind, line=line, text=str(node.value))


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _error("a key is text, not a list or a mapping", node)
    kind = _KINDS.get(str(node.tag).removeprefix(_PREFIX))
    if kind is not YamlKind.TEXT:
        word = "nothing" if kind is YamlKind.NULL else f"a {kind.value if kind else 'tag'}"
        raise _error(f'the key {node.value} is {word} for YAML: write "{node.value}", in quotes', node)
    return str(node.value)


def _error(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
