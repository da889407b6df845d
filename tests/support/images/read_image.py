"""What is in an image, as a source of dibo gives it. Also a program, for users who cannot read the checkout:

    python -c "$(cat readimage.py)" REFERENCE SCRATCH [ARCHITECTURE]

prints the same as JSON.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from dibo.images.sources.choose import choose_image


def read_image(reference: str, scratch: Path, architecture: str = "amd64") -> dict[str, Any]:
    """Its digest and architecture; of each layer, what its source says, and the digests of what came."""
    with choose_image(reference, architecture=architecture, scratch=scratch) as image:
        layers = []
        for layer in reversed(image.layers):
            parts = []
            with layer.open() as reader:
                while data := reader.read(100_000):
                    parts.append(data)
            stored = b"".join(parts)
            said = {"digest": layer.digest, "size": layer.size, "diff_id": layer.diff_id}
            came = {"digest": digest_of(stored), "size": len(stored), "diff_id": digest_of(plain(stored))}
            layers.append({"said": said, "came": came, "starts": stored[:4].hex()})
        return {"digest": image.digest, "architecture": image.architecture, "layers": layers[::-1]}


def plain(data: bytes) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            return reader.read()
    return data


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(read_image(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])))
