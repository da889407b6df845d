"""From the elements asked for to all that are needed, in order.

`element-provides` names what an element stands for: no other element may, and none of that name is taken then. One
element must provide `operating-system`. Elements may need each other in circles. The order is that of the request, each
element right after those that it needs; diskimage-builder itself has none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from dibo.elements.model import OPERATING_SYSTEM, Element
from dibo.errors import StackError, UnknownFlavour


class AlreadyProvided(StackError):
    """Two elements stand for one name, or an element was asked for that another one stands for."""


class NoOperatingSystem(StackError):
    """No element provides an operating system."""


def resolve(
    asked: Iterable[str], get: Callable[[str], Element], *, exists: Callable[[str], bool]
) -> tuple[Element, ...]:
    """The elements for `asked`, in order. `get` reads an element by name. Raises AlreadyProvided, NoOperatingSystem,
    and what `get` raises."""
    asked = tuple(dict.fromkeys(asked))
    provided, elements = _find(asked, get, exists)
    for name in asked:
        if name in provided:
            raise AlreadyProvided(
                f"{name} : already provided by {[provided[name]]}",
                hint=f"remove {name!r} or {provided[name]!r} from the request",
            )
    if OPERATING_SYSTEM not in provided:
        raise NoOperatingSystem(
            "Please include an operating system element", hint="such as debian-minimal or ubuntu"
        )
    return _in_order(asked, elements, provided)


def _find(
    asked: tuple[str, ...], get: Callable[[str], Element], exists: Callable[[str], bool]
) -> tuple[dict[str, str], dict[str, Element]]:
    """(who provides each name, elements by name). Names that are no element wait until a provider was found."""
    provided: dict[str, str] = {}
    elements: dict[str, Element] = {}
    seen = set(asked)
    queue = deque((name, "") for name in asked)
    waiting: list[tuple[str, str]] = []
    while queue:
        name, needed_by = queue.popleft()
        if name in provided:
            continue
        if not exists(name):
            waiting.append((name, needed_by))
            continue
        element = elements[name] = get(name)
        for virtual in element.provides:
            if virtual in provided:
                raise AlreadyProvided(
                    f"{virtual}: already provided by {[provided[virtual]]}",
                    hint=f"the element {name!r} provides it, too; leave one of them out",
                )
            provided[virtual] = name
        queue.extend((need, name) for need in element.needs if need not in seen and need not in provided)
        seen.update(element.needs)
    for name, needed_by in waiting:
        if name not in provided:
            _raise_unknown(name, needed_by, get)
    return provided, {name: element for name, element in elements.items() if name not in provided}


def _raise_unknown(name: str, needed_by: str, get: Callable[[str], Element]) -> None:
    try:
        get(name)
    except UnknownFlavour as error:
        prefix = f"the element {needed_by!r} needs {name!r}: " if needed_by else ""
        raise UnknownFlavour(f"{prefix}{error.message}", hint=error.hint) from error


def _in_order(
    asked: tuple[str, ...], elements: dict[str, Element], provided: dict[str, str]
) -> tuple[Element, ...]:
    done: dict[str, Element] = {}
    entered: set[str] = set()

    def visit(name: str) -> None:
        name = provided.get(name, name)
        if name in entered:
            return
        entered.add(name)
        for need in elements[name].needs:
            visit(need)
        done[name] = elements[name]

    for name in asked:
        visit(name)
    return tuple(done.values())
