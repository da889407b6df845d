"""Clients of registries and of Sigstore that are not dibo: of Sigstore for JavaScript, in the versions of
tools/registry-clients/package-lock.json."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support.requirements import unmet
from tests.support.timeouts import TIMEOUT

PROJECT = Path(__file__).parents[3]
PLACE = PROJECT / ".make/registry-clients"
_ATTACH = """
const { OCIImage } = require("@sigstore/oci/dist/image.js");
const [registry, path, imageDigest, mediaType, text] = process.argv.slice(1);
new OCIImage({ registry, path }, undefined, { retry: false })
  .addArtifact({ imageDigest, artifact: Buffer.from(text), mediaType, annotations: {} })
  .then((descriptor) => console.log(JSON.stringify(descriptor)));
"""
_VERIFY = """
const { readFileSync } = require("fs");
const { createPublicKey } = require("crypto");
const { bundleFromJSON } = require("@sigstore/bundle");
const { toSignedEntity, Verifier } = require("@sigstore/verify");
const [bundlePath, keyPath] = process.argv.slice(1);
const bundle = bundleFromJSON(JSON.parse(readFileSync(bundlePath)));
const material = {
  certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [],
  publicKey: () => ({ publicKey: createPublicKey(readFileSync(keyPath)), validFor: () => true }),
};
const verifier = new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
verifier.verify(toSignedEntity(bundle));
console.log(JSON.stringify(JSON.parse(bundle.content.dsseEnvelope.payload)));
"""


def install() -> None:
    """Have the clients, or skip the test."""
    argv = [str(PROJECT / "tools/setup"), "registry-clients"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode or _node() is None:
        unmet(f"tools/setup registry-clients ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def attach(host: str, repository: str, digest: str, media_type: str, text: str) -> dict[str, Any]:
    """Have @sigstore/oci add a referrer to an image; its descriptor."""
    return _run(_ATTACH, host, repository, digest, media_type, text)


def verified_statement(bundle: Path, key: Path) -> dict[str, Any]:
    """What a bundle says, once @sigstore/verify verified it. Raises CalledProcessError."""
    return _run(_VERIFY, str(bundle), str(key))


def _node() -> str | None:
    return shutil.which("node") or shutil.which("nodejs")


def _run(script: str, *arguments: str) -> dict[str, Any]:
    node = _node()
    assert node is not None
    argv = [node, "-e", script, *arguments]
    done = subprocess.run(
        argv, cwd=PLACE, capture_output=True, text=True, timeout=TIMEOUT, check=False, env={"no_proxy": "*"}
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, argv[:2], done.stdout, done.stderr)
    document: dict[str, Any] = json.loads(done.stdout)
    return document
