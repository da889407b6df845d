"""YAML and JSON in files of elements, within the bounds of strict_yaml."""

from __future__ import annotations

import yaml

from dibo.errors import FlavourError
from dibo.flavours import strict_yaml


def load_document(text: str, origin: str) -> object:
    """The value of one document. JSON is YAML, but for tabs between its words. Raises FlavourError."""
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")
    try:
        return strict_yaml.load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None)
        if mark is not None and problem:
            raise FlavourError(f"{origin}:{mark.line + 1}: {problem}") from error
        raise FlavourError(f"{origin}: {' '.join(str(error).split())}") from error


def mapping_of(value: object, place: str) -> dict[str, object]:
    """A mapping whose keys are texts; an empty one for nothing. Raises FlavourError."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FlavourError(f"{place}: expected a mapping, got {value!r}")
    return {str(key): item for key, item in value.items()}
