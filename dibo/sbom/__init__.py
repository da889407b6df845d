"""Bills of materials: what an image is made of, for programs that look for licenses and vulnerabilities.

    Inventory ── bill_of ──► Bill ──► CycloneDX 1.6, or SPDX 2.3, as JSON

Others use `bill` and the `write_…` functions of `cyclonedx` and `spdx`. The same image gives the same bytes: identities
are made of its content, and times are those of the image.
"""
