"""The JSON schema of what commands print with --json (dibo.api.documents): `dibo schema json`."""

from __future__ import annotations

from typing import Final

from dibo.api.baking.schema import PIPELINE, PLAN, bake_document
from dibo.api.baking.schema import events as bake_events
from dibo.api.contents.report_schema import REPORT
from dibo.api.contents.schema import DIFF, INSPECT
from dibo.api.elements.schema import ELEMENTS, ELEMENTS_CHECK
from dibo.api.json_types import Schema
from dibo.api.json_types import count as _count
from dibo.api.json_types import document as _document
from dibo.api.json_types import flag as _flag
from dibo.api.json_types import list_of as _list
from dibo.api.json_types import map_of as _map
from dibo.api.json_types import maybe as _maybe
from dibo.api.json_types import maybe_count as _maybe_count
from dibo.api.json_types import maybe_seconds as _maybe_seconds
from dibo.api.json_types import object_of as _object
from dibo.api.json_types import one_of as _one_of
from dibo.api.json_types import seconds as _seconds
from dibo.api.json_types import text as _text
from dibo.api.json_types import texts as _texts
from dibo.api.projects.schema import PLANS
from dibo.api.registry.schema import REGISTRY
from dibo.system.task import BUILT, CACHED, DONE, FAILED, INTERRUPTED, PULLED, SHARED

DIGEST: Final = "^sha256:[0-9a-f]{64}$"


_KEY: Final = _text("key of the layer", pattern="^[0-9a-f]{64}$")
_TITLE: Final = _text("what the layer is made by")
_ERROR: Final = {
    "kind": _text("name of the class of errors, as in dibo.errors; Interrupted after a signal"),
    "message": _text("what failed, what was expected and found"),
    "hint": _text("what to do, in lines; may be empty"),
    "details": _texts("single findings, such as the files that differ"),
    "exit_code": _count("exit code of the command"),
}
_PLANNED_IMAGE: Final = {
    "name": _text("its name"),
    "architecture": _text("its architecture, perhaps with a variant"),
    "types": _texts("artefacts that are made of it"),
    "flavours": _texts("its flavours; empty for an image that is converted"),
    "converts": _maybe("container image that is converted; null for one of flavours"),
    "layers": _count("layers of its plan, with the base"),
    "missing": _count("layers that a build would make"),
}
_REASON: Final = {
    "key": _KEY,
    "title": _TITLE,
    "nearest": _maybe("key of the most alike layer that is kept"),
    "place": _maybe("where that layer is"),
    "differences": _texts("ingredients that differ"),
    "below": _flag("whether the layer below is another one"),
    "refused": _maybe("why the layer of a registry is not used"),
}
_FLAVOUR: Final = {
    "name": _text("name of the flavour"),
    "summary": _text("what it brings; may be empty"),
    "path": _text("its directory"),
    "shadows": _texts("directories of the same name that it hides"),
    "needs": _texts("flavours that come before it"),
    "clashes": _texts("flavours that cannot be in one stack with it"),
    "architectures": _texts("what it is for; empty for all"),
    "packages": _map("packages by distribution", {"type": "array", "items": {"type": "string"}}),
    "environment": _map("declared variables with their defaults", {"type": "string"}),
    "fetch": _list(
        "files that are fetched for its hooks",
        {
            "name": _text("what hooks find it as"),
            "sha256": _text("its sha256, hexadecimal"),
            "urls": _texts("where it is"),
            "architectures": _texts("what it is for; empty for all"),
        },
    ),
    "network": _texts("phases in which its steps may use the network"),
    "secrets": _texts("names of declared secrets"),
    "local": _flag("whether its layers hold data of this user or machine"),
    "hooks": _texts("its hooks, PHASE/NAME"),
    "host_phases": _texts("phases with hooks that run on this machine"),
    "data": _texts("other files in directories of phases"),
}
_FINDING: Final = {
    "title": _text("what was tried"),
    "works": _flag("whether it works"),
    "needed": _flag("whether a build needs it"),
    "detail": _text("what was found; may be empty"),
    "advice": _text("what to do where it does not work"),
    "command": _text("the command that does so; may be empty"),
    "fixable": _flag("whether dibo doctor --fix does so"),
}
_ENTRY: Final = {
    "key": _KEY,
    "digest": _text("digest of the entry's manifest", pattern=DIGEST),
    "title": _TITLE,
    "size": _count("bytes of the whole image"),
    "unique": _count("bytes that no other entry shares"),
    "made": _maybe("when it was made, ISO 8601"),
    "used": _maybe("when it was last used, ISO 8601"),
}
_CLEANED: Final = {
    "kind": _one_of(
        "what it is",
        *("layers", "runs", "locks", "downloads", "notes", "logs", "keys", "kits", "artefacts", "outputs"),
    ),
    "engine": _maybe("engine whose store has it; null in the cache directory"),
    "count": _count("how many"),
    "size": _count("bytes that they take, beside what others share"),
    "names": _texts("names in the engine's store, or paths"),
}
_ARTEFACT: Final = {
    "path": _text("the file"),
    "size": _count("bytes of the file"),
    "stored": _count("bytes that it takes on disk"),
    "sha256": _maybe("its sha256, hexadecimal; null where none was recorded beside it"),
}
_ORIGIN: Final = _one_of(
    "cached: the engine's store had it; pulled: from a registry; built; shared: another build made it meanwhile",
    *(CACHED, PULLED, BUILT, SHARED),
)
_OUTCOME: Final = _one_of("how it ended", DONE, FAILED, INTERRUPTED)
_STEP_TITLE: Final = _text("what is done")
_BUILT: Final[dict[str, Schema]] = {
    "layers": _list(
        "base and steps, the lowest first",
        {
            "key": _KEY,
            "title": _TITLE,
            "origin": _ORIGIN,
            "registry": _maybe("repository that it was pulled from"),
            "took": _maybe_seconds(
                "seconds that building it took, or pulling it with all below; null for others"
            ),
        },
    ),
    "steps": _list(
        "what was done, in the order in which it was begun",
        {
            "step": _count("number of the step"),
            "within": _maybe_count("number of the step that it is a part of"),
            "title": _STEP_TITLE,
            "outcome": _OUTCOME,
            "took": _seconds("seconds that it took"),
            "note": _text("what else to say of it, such as a size; may be empty"),
        },
    ),
    "took": _seconds("seconds that all of it took"),
}
_CONVERSION: Final = {
    "reference": _text("the image, as it was named"),
    "image": _maybe("its name, with the digest where that is known; null if it was not converted"),
    "artefacts": _list("files that were made of it", _ARTEFACT),
    "error": _object(_ERROR)
    | {"type": ["object", "null"], "description": "why it was not converted, or null"},
    "took": _seconds("seconds that it took"),
}
_EVENT_STEP: Final = _count("number of the step")


def _event(name: str, description: str, **properties: Schema) -> Schema:
    return _document(name, description, seconds=_seconds("since the command began"), **properties)


EVENTS: Final[dict[str, Schema]] = {
    schema["properties"]["document"]["const"]: schema
    for schema in (
        _event(
            "step-started",
            "a step that takes a while starts",
            step=_EVENT_STEP,
            within=_maybe_count("number of the step that it is a part of"),
            title=_STEP_TITLE,
        ),
        _event(
            "step-progress",
            "bytes of a step, at most twice a second",
            step=_EVENT_STEP,
            bytes=_count("bytes that are done"),
            total=_maybe_count("bytes to do; null where that is not known"),
            rate=_count("bytes in a second, of late; 0 where that is not known"),
        ),
        _event(
            "step-output",
            "a line of output, or the name of the hook that starts, with `-x`",
            step=_maybe_count("number of the step"),
            line=_text("the line"),
        ),
        _event(
            "step-ended",
            "a step has ended",
            step=_EVENT_STEP,
            title=_STEP_TITLE,
            outcome=_OUTCOME,
            took=_seconds("seconds that it took"),
            note=_text("what else to say of it, such as a size; may be empty"),
        ),
        _event(
            "layer",
            "it is known where a layer comes from",
            key=_KEY,
            title=_TITLE,
            origin=_ORIGIN,
            registry=_maybe("repository that it was pulled from"),
            step=_maybe_count("number of the step that built or pulled it"),
        ),
        _event("message", "something else to know", text=_text("the message, perhaps of several lines")),
        _event(
            "warning", "a warning; the command goes on", text=_text("the warning, perhaps of several lines")
        ),
        *bake_events(_ERROR),
    )
}
"""What standard error has with --json, one a line, beside the document `error`."""
_KERNEL: Final = {
    "version": _text("version of the kernel"),
    "volume": _text("volume of the image that has it"),
    "filesystem": _text("file system of the volume"),
    "kernel": _text("path of the kernel in the volume"),
    "ramdisks": _texts("paths of its ramdisks"),
}
_STEP: Final = {
    "kind": _one_of("what it is", "expect", "type", "run", "screenshot", "wait"),
    "value": _text("what it expects, types or runs, the file, or seconds"),
    "took": _seconds("seconds that it took"),
    "exit_code": _maybe_count("exit code of a command; null for other steps"),
    "output": _maybe("what a command printed; null for other steps"),
}
_MACHINE: Final = {
    "name": _text("its name"),
    "image": _maybe("what it boots; null for a kernel alone"),
    "pid": _count("process of QEMU"),
    "user": _text("user that logs in"),
    "ssh_port": _count("port of 127.0.0.1 that leads to SSH"),
    "ports": _texts("ports that lead into it, ADDRESS:PORT → PORT/PROTOCOL"),
}

DOCUMENTS: Final[dict[str, Schema]] = {
    schema["properties"]["document"]["const"]: schema
    for schema in (
        _document("error", "any command that failed", error=_object(_ERROR) | {"description": "the error"}),
        *PLANS,
        _document(
            "plans",
            "`dibo plan` without a name, of a project file",
            project=_text("the project file"),
            images=_list("images in the order of the file", _PLANNED_IMAGE),
        ),
        _document(
            "init",
            "`dibo init`",
            project=_text("the project file"),
            image=_text("name of the image that was added"),
            files=_texts("files that were written or changed"),
        ),
        _document(
            "why",
            "`dibo why`",
            layers=_count("layers of the plan"),
            missing=_list("layers that a build would make, the lowest first", _REASON),
        ),
        _document(
            "build",
            "`dibo build`",
            image=_text("name of the image, with its digest if pushed"),
            **_BUILT,
        ),
        _document(
            "artefacts",
            "`disk-image-create`, `ramdisk-image-create` and `dibo convert`",
            artefacts=_list("files that were made", _ARTEFACT),
            image=_maybe("container image that was converted; null for a build"),
            **_BUILT,
        ),
        _document(
            "conversions",
            "`dibo convert` of several images, also if it fails because of some",
            images=_list("images in the given order", _CONVERSION),
            **_BUILT,
        ),
        _document(
            "verify",
            "`dibo verify`, if all is the same; else an error of the kind Differs",
            manifest=_text("the manifest"),
            layers=_count("layers that are the same"),
            artefacts=_count("artefacts that are the same"),
            built=_flag("whether it was made again; false with --no-build"),
            provenance=_maybe("provenance that agrees with the manifest; null if there is none"),
            signed_by=_maybe("key of --verify-key that signed it"),
        ),
        INSPECT,
        DIFF,
        REPORT,
        _document(
            "flavours",
            "`dibo flavours`, also if it fails because of some",
            flavours=_list("flavours by name", _FLAVOUR),
            broken=_list(
                "flavours that cannot be read",
                {
                    "name": _text("its name"),
                    "path": _text("its directory"),
                    "why": _text("what is wrong with it"),
                },
            ),
        ),
        ELEMENTS,
        ELEMENTS_CHECK,
        _document(
            "doctor",
            "`dibo doctor`, also if it fails",
            works=_flag("whether this machine has all that is needed"),
            findings=_list("what was tried, in the order of a build", _FINDING),
            fixed=_texts("what --fix did"),
        ),
        _document(
            "cache-list",
            "`dibo cache list`",
            entries=_list("layers", _ENTRY),
            damaged=_list("layers that cannot be read", {"key": _KEY, "why": _text("what is wrong with it")}),
            size=_count("bytes of all entries"),
            inputs=_object(
                {"layers": _count("layers whose input files are there"), "size": _count("bytes of them")}
            )
            | {"description": "input files: of packages, or fetched for flavours"},
        ),
        _document(
            "cache-prune",
            "`dibo cache prune`",
            removed=_flag("whether the layers were removed; false without --yes"),
            layers=_texts("keys, or names in the engine's store, of layers to remove"),
            inputs=_count("layers whose input files are removed, too"),
            frees=_count("bytes that are free then"),
        ),
        _document(
            "clean",
            "`dibo clean`",
            removed=_flag("whether it was removed; false with --dry-run"),
            kinds=_list("what was removed, or would be", _CLEANED),
            size=_count("bytes of all of it"),
            kept=_list(
                "what could not be looked at, or is not what dibo wrote",
                {"what": _text("what stays"), "why": _text("why")},
            ),
            failed=_list("what could not be removed", {"what": _text("what stays"), "why": _text("why")}),
        ),
        _document(
            "cache-verify",
            "`dibo cache verify`, if all layers are whole; else an error",
            layers=_count("layers that were read"),
            signed=_flag("whether signatures were verified"),
        ),
        *REGISTRY,
        _document(
            "key-generate",
            "`dibo key generate`",
            private_key=_text("file with the private key"),
            public_key=_text("file with the public key"),
        ),
        _document("key-sign", "`dibo key sign`", reference=_text("HOST/PATH:TAG@DIGEST")),
        _document(
            "key-verify",
            "`dibo key verify`",
            reference=_text("HOST/PATH:TAG@DIGEST"),
            signed_by=_maybe("key that signed it; null where the policy accepts it unsigned"),
        ),
        _document(
            "boot",
            "`dibo boot`",
            machine=_text("its name"),
            architecture=_text("its architecture, Debian's word"),
            firmware=_text("what it started with; none if QEMU loaded its kernel"),
            accelerator=_text("how it ran: kvm, tcg, hvf"),
            steps=_list("steps that were carried out", _STEP),
            exit_code=_count("exit code of the command that failed, or 0"),
        ),
        bake_document(_ERROR, _ARTEFACT),
        PLAN,
        PIPELINE,
        _document("machines", "`dibo ssh --list`", machines=_list("machines that run, by name", _MACHINE)),
        _document(
            "kernel",
            "`disk-image-get-kernel`",
            kernel=_text("file with the kernel"),
            ramdisk=_text("file with its ramdisk"),
            cmdline=_maybe("kernel command line, with --cmdline"),
        ),
        _document("kernels", "`disk-image-get-kernel --list`", kernels=_list("the newest first", _KERNEL)),
    )
}

JSON_SCHEMA: Final[Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "what commands of dibo print with --json",
    "anyOf": [{"$ref": f"#/$defs/{name}"} for name in (*DOCUMENTS, *EVENTS)],
    "$defs": {**DOCUMENTS, **EVENTS},
}
