"""`dibo tree`: what a registry holds at a name, and all that refers to it."""

from __future__ import annotations

from collections.abc import Iterator

from dibo.api.documents import CommandAnswer, Document, new_document
from dibo.api.registry.subject import subject_name
from dibo.artefacts.registry_tree import IMAGE, INDEX, SIGNATURE, RegistryNode, read_tree
from dibo.images.registry import api
from dibo.settings.settings import Settings
from dibo.trust.policy import trust_of
from dibo.units import counted, human_size

_WIDTH = len("provenance")


def tree(settings: Settings, reference: str) -> CommandAnswer:
    """The tree at `reference`; where keys or a policy were given, only if it is signed. Raises UsageError,
    RegistryError, Unreachable, VerificationFailed, ImageError, SignatureError."""
    name = subject_name(reference)
    trust = trust_of(settings)
    trust.require_chance(name)
    digest, _ = api.manifest(name)
    trust.verify(name, digest)
    top = read_tree(name.at(digest))
    lines = [f"{name}", *_lines(top, "", "")]
    return CommandAnswer(
        text="\n".join(lines),
        document=new_document("tree", reference=f"{name}", nodes=list(_fields(top, None, "root"))),
    )


def _lines(node: RegistryNode, first: str, rest: str) -> Iterator[str]:
    """A line for each node; `first` stands before its own, `rest` before those below it."""
    yield f"{first}{node.kind:{_WIDTH}}  {node.digest}{_note(node)}"
    below = (*node.images, *node.referrers)
    for place, child in enumerate(below, 1):
        last = place == len(below)
        yield from _lines(child, f"{rest}{'└── ' if last else '├── '}", f"{rest}{'    ' if last else '│   '}")


def _note(node: RegistryNode) -> str:
    """What else there is to say of a node in a line."""
    if node.problem:
        return f"  unusable: {node.problem}"
    if node.kind == INDEX:
        words = [counted(len(node.images), "image")]
    elif node.kind == SIGNATURE:
        words = [counted(max(1, len(node.blobs) - 1), "signature")]
    else:
        words = [node.title]
        if node.kind == IMAGE:
            words.append(counted(max(0, len(node.blobs) - 1), "layer"))
        words.append(human_size(node.stored))
        if node.kind == "other":
            words.append(node.artifact_type)
    return f"  {', '.join(word for word in words if word)}"


def _fields(node: RegistryNode, parent: str | None, relation: str) -> Iterator[Document]:
    yield {
        "digest": node.digest,
        "parent": parent,
        "relation": relation,
        "kind": node.kind,
        "media_type": node.media_type,
        "artifact_type": node.artifact_type or None,
        "title": node.title or None,
        "tag": node.tag or None,
        "size": node.size,
        "stored": node.stored,
        "problem": node.problem or None,
    }
    for image in node.images:
        yield from _fields(image, node.digest, "image")
    for referrer in node.referrers:
        yield from _fields(referrer, node.digest, "referrer")
