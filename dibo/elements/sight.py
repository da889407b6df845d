"""What a step of elements sees: files of the merged tree, files of single elements, and variables.

Every script of diskimage-builder can see everything. A layer whose key covered everything would be built again
whenever anything changes, so a step here sees what its scripts speak of. Their text tells: the names of variables, and
of what is beside the directory of the phase (`$(dirname $0)/../static`, `/tmp/in_target.d/static`,
`$TMP_HOOKS_PATH/static`). Where the text computes such a name, the step sees all. extra-data.d, which collects what
elements declare, always does, but for the scripts of other phases.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from dibo.elements.hooks import HookFile, in_phase
from dibo.elements.model import ENVIRONMENT, PHASES, Element, ElementPhase, is_script
from dibo.flavours.model import FlavourFile, FlavourKind

_TEXT_LIMIT: Final = 1 << 18  # of a file that is searched; scripts are smaller
_BESIDE: Final = re.compile(
    r"(?:\.\.|in_target\.d|TMP_HOOKS_PATH\}?\"?)(?:/(?P<name>[A-Za-z0-9_.-]+)(?P<rest>.?)|)"
)
_COMPUTED: Final = re.compile(r"dirname[^\n]*dirname|__file__|\.parent")
_SINGLE: Final = re.compile(r"get_image_element_array|IMAGE_ELEMENT|ELEMENTS_PATH")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ALL: Final = "*"
_ASSIGNMENT: Final = re.compile(
    r"\s*(?:export\s+)?(?P<name>DIB_\w+)=(?P<value>(?:(?!\$\()[^`;&|])*?)(?:\s#[^'\"]*)?", re.ASCII
)
"""Of a variable that scripts of elements alone read: what it is made of matters where a step speaks of it. What runs
a command matters always."""
_GUARDED: Final = re.compile(r"\$\{([A-Za-z_]\w*):?-", re.ASCII)
"""Variables that a value may do without. One that it may not do without is needed wherever the file is sourced."""
_ALWAYS_SET: Final = re.compile(r"IMAGE_NAME")
_EVERY_VARIABLE: Final = frozenset({"DIB_ENV", "DIB_ARGS"})
"""A script that speaks of one of these reads all variables of diskimage-builder."""
PREFIX: Final = "DIB_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementSight:
    """What a step sees."""

    hooks: tuple[HookFile, ...]
    """Of the merged tree."""
    sources: Mapping[str, tuple[FlavourFile, ...]] = field(default_factory=dict)
    """Files of single elements, by name: what `IMAGE_ELEMENT_YAML` leads to."""
    words: frozenset[str] = frozenset()
    """Of all that runs in the step, and of what it reads; other variables cannot matter."""
    keys_of_user: bool = False
    """Whether its scripts speak of the user's `.ssh`."""

    def sees_variable(self, name: str) -> bool:
        if name in self.words or (self.words & _EVERY_VARIABLE and name.startswith(PREFIX)):
            return True
        return any(name.startswith(word) for word in self.words if word.endswith("_") and len(word) > 4)


class Sights:
    """The sights of steps of `elements`, whose merged tree is `hooks`."""

    def __init__(self, elements: Iterable[Element], hooks: Iterable[HookFile]) -> None:
        self._elements = {element.name: element for element in elements}
        self._hooks = tuple(hooks)
        self._texts: dict[str, str] = {}

    def of(self, phase: ElementPhase, scripts: Collection[str]) -> ElementSight:
        """What a step sees that runs `scripts` of a phase."""
        running = [hook for hook in self._hooks if self._runs(hook, phase, scripts)]
        settings = [hook for hook in self._hooks if hook.path.startswith(f"{ENVIRONMENT}/")]
        programs = [hook for hook in self._hooks if hook.path.startswith("bin/")]
        texts = [self._text(hook) for hook in (*running, *settings)]
        everything = phase is ElementPhase.EXTRA_DATA
        names = {_ALL} if everything else _beside(texts)
        if "bin" in names or _ALL in names:
            names |= set() if everything else _beside([self._text(hook) for hook in programs])
        seen = [
            hook
            for hook in self._hooks
            if hook in running or hook in settings or _is_seen(hook, phase, names)
        ]
        read = (*running, *programs, *(hook for hook in seen if hook not in settings))
        words = {word for hook in read for word in _WORD.findall(self._text(hook))}
        assignments = [self._assignments(hook) for hook in settings]
        words |= {word for always, _ in assignments for word in always}
        single = everything or any(_SINGLE.search(text) for text in texts)
        sources = self._sources() if single else {}
        for name, files in sources.items():
            for file in files:
                if file.path.startswith(f"{ENVIRONMENT}/"):
                    continue
                words |= {*_WORD.findall(self._text(HookFile(element=name, file=file)))}
        return ElementSight(
            hooks=tuple(seen),
            sources=sources,
            words=frozenset(_with_assigned(words, [one for _, some in assignments for one in some])),
            keys_of_user=any(".ssh" in self._text(hook) for hook in running),
        )

    def _assignments(self, hook: HookFile) -> tuple[set[str], list[tuple[str, set[str]]]]:
        """(words that count, [(variable, words that count where the variable does)]) of a file in environment.d."""
        always: set[str] = set()
        conditional: list[tuple[str, set[str]]] = []
        for line in self._text(hook).splitlines():
            match = _ASSIGNMENT.fullmatch(line)
            if match is None:
                always.update(_WORD.findall(line))
                continue
            free = {*_GUARDED.findall(match["value"]), *_ALWAYS_SET.findall(match["value"])}
            always |= {*_WORD.findall(match["value"])} - free - {match["name"]}
            conditional.append((match["name"], free))
        return always, conditional

    def _runs(self, hook: HookFile, phase: ElementPhase, scripts: Collection[str]) -> bool:
        """Whether a file is a script of the step, or anything else in the directory of its phase."""
        if in_phase(hook.path) != phase:
            return False
        name = hook.path.partition("/")[2]
        return name in scripts or not is_script(hook.file)

    def _sources(self) -> dict[str, tuple[FlavourFile, ...]]:
        return {
            name: tuple(
                file
                for file in element.files
                if not in_phase(file.path) and not file.path.startswith("README")
            )
            for name, element in self._elements.items()
        }

    def _text(self, hook: HookFile) -> str:
        """Of a file, or nothing where it is none that a shell reads."""
        file = hook.file
        if file.kind is not FlavourKind.FILE:
            return ""
        if file.digest not in self._texts:
            path = self._elements[hook.element].directory / file.path
            with path.open("rb") as stream:
                content = stream.read(_TEXT_LIMIT)
            self._texts[file.digest] = "" if b"\0" in content else content.decode(errors="replace")
        return self._texts[file.digest]


def _with_assigned(words: set[str], assignments: list[tuple[str, set[str]]]) -> set[str]:
    """With what the variables among them are made of."""
    while True:
        more = {word for name, of in assignments if name in words for word in of} - words
        if not more:
            return words
        words = words | more


def _is_seen(hook: HookFile, phase: ElementPhase, names: Collection[str]) -> bool:
    """Whether a file that does not run is seen, where the step speaks of `names`."""
    top, _, rest = hook.path.partition("/")
    if top in PHASES:
        return phase is ElementPhase.EXTRA_DATA and "/" in rest  # install-types looks for directories there
    return top in names or _ALL in names


def _beside(texts: Iterable[str]) -> set[str]:
    """What texts speak of beside their directory; `*` where they compute it."""
    names: set[str] = set()
    for text in texts:
        code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        if _COMPUTED.search(code):
            names.add(_ALL)
        for match in _BESIDE.finditer(code):
            name = match["name"]
            names.add(_ALL if not name or match["rest"] in ("$", "*", "{", "?") else name)
    return names - set(PHASES)
