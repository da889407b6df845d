"""YAML as it is meant: what stands twice in a mapping is an error, where YAML's own loader lets the last one win."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


class _Strict(yaml.constructor.BaseConstructor):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


class _Loader(_Strict, yaml.SafeLoader):
    pass


class _Texts(_Strict, yaml.BaseLoader):
    pass


def load(text: str | bytes) -> object:
    """The value of one document. Raises yaml.YAMLError, UnicodeDecodeError."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506  a safe one


def load_texts(text: str | bytes) -> object:
    """The same, where every scalar is the text that stands there: `52:54:00:12:34:56` is no number of base 60, `no` is
    no boolean, `007` is not 7. Raises yaml.YAMLError, UnicodeDecodeError.
    """
    return yaml.load(text, Loader=_Texts)  # noqa: S506  a safe one
