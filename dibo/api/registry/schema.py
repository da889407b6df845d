"""The JSON schema of what `dibo push`, `dibo tree` and `dibo promote` print with --json."""

from __future__ import annotations

from typing import Final

from dibo.api.json_types import count, document, flag, list_of, maybe, object_of, one_of, text, texts
from dibo.artefacts.registry_tree import KINDS

REGISTRY: Final = (
    document(
        "push",
        "`dibo push`",
        reference=text("HOST/PATH:TAG@DIGEST; with --attach HOST/PATH@DIGEST"),
        subject=maybe("digest of the image that it is attached to; null without --attach"),
        referrers=list_of(
            "what was sent with it",
            {
                "digest": text("digest of its manifest"),
                "artifact_type": text("what it is, as a media type"),
                "title": text("name of the file"),
            },
        ),
    ),
    document(
        "tree",
        "`dibo tree`",
        reference=text("the reference that was named"),
        nodes=list_of(
            "manifests and indexes, each before those below it",
            {
                "digest": text("digest of the manifest"),
                "parent": maybe("digest of the index or manifest above it; null for the first"),
                "relation": one_of("what it is to its parent", "root", "image", "referrer"),
                "kind": one_of("what it is", *KINDS),
                "media_type": text("media type of the manifest"),
                "artifact_type": maybe("what it is, as a media type"),
                "title": maybe("names of its files, or the platform of an image of an index"),
                "tag": maybe("tag of cosign that has it"),
                "size": count("bytes of the manifest"),
                "stored": count("bytes of its blobs"),
                "problem": maybe("why it cannot be used; null where it can"),
            },
        ),
    ),
    document(
        "promote",
        "`dibo promote`",
        reference=text("HOST/PATH:TAG@DIGEST of the copy"),
        dry_run=flag("whether nothing was copied"),
        manifests=count("manifests and indexes, with those of referrers"),
        new_manifests=count("how many of them the target did not have"),
        blobs=object_of(
            {
                "present": count("that the target had"),
                "mounted": count(
                    "that the registry took from the other repository; with --dry-run, may take"
                ),
                "sent": count("that were sent"),
                "sent_bytes": count("their bytes"),
            }
        )
        | {"description": "configs, layers and files of artefacts, each once"},
        left=texts("referrers that were left behind, and why"),
    ),
)
