"""Artefacts: the files that dibo makes, and the manifest beside them.

`converter` finds and reads converters, `manifest` collects and writes the manifest, `manifest_schema` is its JSON
schema, and `oci_artefact` encodes artefacts for a registry. Others use all four modules; names with an underscore are
private. Converters run in dibo.disk, uploads in dibo.api.registry.
"""
