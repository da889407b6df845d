"""Whether the options of a library's caller are of their types; what a command gets is always text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from os import PathLike
from types import NoneType
from typing import Any, Final, get_args, get_origin, get_type_hints

from dibo.errors import UsageError

_LARGEST: Final = 1e18
"""Of a number: no option means more, and a larger one may not fit a float."""
_LONGEST: Final = 200
"""Characters of a value that a message shows."""
_WORDS: Final[Mapping[Any, str]] = {
    str: "a str",
    int: "an int",
    float: "a number",
    bool: "True or False",
    NoneType: "None",
    tuple: "a tuple, each item {}",
    Sequence: "a tuple or a list, each item {}",
    Mapping: "a mapping of str to str",
}


def check_options(name: str, options: object, kind: type) -> None:
    """Raises UsageError unless `options`, the argument `name`, is of this dataclass and its fields are of their
    types."""
    if not isinstance(options, kind):
        raise UsageError(f"{name}: expected {kind.__name__}, got {options!r:.{_LONGEST}}")
    hints = get_type_hints(kind)
    for option in fields(options):  # type: ignore[arg-type]  # `kind` is a dataclass
        check_type(option.name, getattr(options, option.name), hints[option.name])


def check_type(name: str, value: object, hint: Any) -> None:
    """Raises UsageError unless the argument or option `name` is of a type that options have. No text has a NUL
    character: no path and no argument of a program can have one."""
    if _fits(value, hint):
        return
    expected = _in_words(hint)
    one_for_many = isinstance(value, str) and "\0" not in value and _fits((value,), hint)
    nul = ", without NUL characters" if _has_nul(value) else ""
    raise UsageError(
        f"{name}: expected {expected}{nul}, got {value!r:.{_LONGEST}}",
        hint=f"({value!r},)" if one_for_many else "",
    )


def _fits(value: object, hint: Any) -> bool:
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in _WORDS:
        return _fits_kind(value, kind, parts)
    if kind is PathLike:
        return (
            isinstance(value, PathLike) and isinstance(path := value.__fspath__(), str) and "\0" not in path
        )
    return any(_fits(value, part) for part in parts)


def _fits_kind(value: object, kind: Any, parts: tuple[Any, ...]) -> bool:
    if kind in (tuple, Sequence):
        return isinstance(value, tuple | list) and all(_fits(item, parts[0]) for item in value)
    if kind is Mapping:
        return isinstance(value, Mapping) and all(_fits(text, str) for item in value.items() for text in item)
    if kind in (int, float):
        number = isinstance(value, int | kind) and not isinstance(value, bool)
        return number and -_LARGEST < value < _LARGEST  # type: ignore[operator]
    return isinstance(value, kind) and not (kind is str and "\0" in value)


def _in_words(hint: Any) -> str:
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in _WORDS:
        return _WORDS[kind].format(_in_words(parts[0])) if parts else _WORDS[kind]
    if kind is PathLike:
        return "a path"
    return " or ".join(_in_words(part) for part in parts)


def _has_nul(value: object) -> bool:
    items = (
        value.items()
        if isinstance(value, Mapping)
        else value
        if isinstance(value, tuple | list)
        else (value,)
    )
    return any("\0" in str(text) for item in items for text in (item if isinstance(item, tuple) else (item,)))
