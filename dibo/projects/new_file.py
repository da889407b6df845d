"""A new project file, with comments that show what else there is; and an image more in a file that exists.

An image is added as lines of text, at the place that YAML's marks show. A library that writes YAML again with its
comments (ruamel.yaml) keeps them, but gives comments at the end of an image to whatever is written after it, and
chooses the form of lists anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from dibo.errors import ProjectError
from dibo.flavours.strict_yaml import load_node
from dibo.projects.keys import IMAGE_NAME

_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_.+-]+")
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_NOT_TEXT: Final = ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
_DEFAULT_NAME: Final = "web"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """An image that is written to a project file."""

    name: str
    flavours: tuple[str, ...]
    base: str | None = None
    release: str | None = None
    types: tuple[str, ...] = ()
    size: str | None = None

    @property
    def keys(self) -> Mapping[str, str]:
        """As they are written, in that order."""
        keys = {
            "flavours": _list(self.flavours),
            "base": _scalar(self.base or ""),
            "release": _scalar(self.release or ""),
            "types": _list(self.types),
            "size": self.size or "",
        }
        return {key: value for key, value in keys.items() if value not in ("", "[]", '""')}


def name_for(directory: str) -> str:
    """A name for the first image of a project in a directory of this name."""
    name = _UNUSUAL.sub("-", directory).strip("-_.+")[:60]
    return name if IMAGE_NAME.fullmatch(name) else _DEFAULT_NAME


def new_project(image: NewImage, *, own_flavours: bool, destination: str) -> str:
    """The text of a project file. `own_flavours` says whether the repository has a directory `flavours`."""
    own = "" if own_flavours else "# "
    release = (
        f"release: {_scalar(image.release)}"
        if image.release
        else "# release: trixie  # the newest, otherwise"
    )
    size = f"size: {image.size}" if image.size else "# size: 4  # GB; 2 otherwise"
    return f"""\
# Images of this repository, for dibo. All keys: docs/reference/project.md of dibo.
# Editors complete and check this file after: dibo schema project > .dibo.schema.json
# yaml-language-server: $schema=.dibo.schema.json

# What all images have. An image adds flavours to these, and overrides all else.
defaults:
  base: {_scalar(image.base or "debian")}
  {release}
  types: {_list(image.types or ("qcow2",))}
  destination: {_scalar(destination)}  # a directory beside this file
  {own}flavours-path: [flavours]  # flavours of this repository

images:
  {_scalar(image.name)}:
    flavours: {_list(image.flavours)}
    {size}
    # variables: {{NAME: value}}  # environment variables that flavours declare
    # secrets: [token]  # dibo build {image.name} --secret token=FILE
    # tests:  # dibo boot {image.name} --test boot
    #   - expect: 'login:'
    #   - run: systemctl is-system-running --wait

  # Several images of one entry: {image.name}-db-amd64 and {image.name}-db-arm64.
  # {image.name}-db:
  #   flavours: {_list((*image.flavours, "mysql"))}
  #   architectures: [amd64, arm64]
"""


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_scalar, texts))}]"


def _scalar(text: str) -> str:
    """Text as YAML, in quotes where it could be taken for something else."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def with_image(text: str, image: NewImage, *, origin: str) -> str:
    """A project file with one image more, at the end of `images`. Lines are only added, so all else stays as it is,
    comments and the form of lists too. Raises ProjectError for an image that exists."""
    try:
        _, root = load_node(text)
    except yaml.YAMLError as error:
        raise ProjectError(f"{origin} is not YAML: {error}") from error
    if root is None:
        return f"{_ended(text)}images:\n{_block(image, '  ')}"
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise ProjectError(
            f"{origin}: expected keys on lines of their own, such as images:",
            hint="dibo init writes such a file",
        )
    keys = [key.value for key, _ in root.value]
    if "images" not in keys:
        return f"{_ended(text)}\nimages:\n{_block(image, '  ')}"
    number = keys.index("images")
    key, images = root.value[number]
    if isinstance(images, yaml.MappingNode) and image.name in [name.value for name, _ in images.value]:
        raise ProjectError(f"{origin} has an image {image.name} already", hint="choose another name")
    lines = text.splitlines(keepends=True)
    if isinstance(images, yaml.MappingNode) and images.flow_style:
        end = images.end_mark.index - 1
        comma = ", " if images.value else ""
        return f"{text[:end].rstrip().removesuffix(',')}{comma}{_flow(image)}{text[end:]}"
    following = [later.start_mark.line for later, _ in root.value[number + 1 :]]
    place = _end_of_block(lines, key.start_mark.line, following[0] if following else len(lines))
    indent = " " * images.value[0][0].start_mark.column if isinstance(images, yaml.MappingNode) else "  "
    before = "".join(lines[:place])
    return f"{_ended(before)}{_block(image, indent)}{''.join(lines[place:])}"


def _end_of_block(lines: Sequence[str], start: int, end: int) -> int:
    """The number of the line behind the last one of a block that begins at `start`; comments at the margin and empty
    lines before `end` are of what follows."""
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return end


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _block(image: NewImage, indent: str) -> str:
    keys = "".join(f"{indent}{indent}{key}: {value}\n" for key, value in image.keys.items())
    return f"{indent}{_scalar(image.name)}:{'' if keys else ' {}'}\n{keys}"


def _flow(image: NewImage) -> str:
    keys = ", ".join(f"{key}: {value}" for key, value in image.keys.items())
    return f"{_scalar(image.name)}: {{{keys}}}"
