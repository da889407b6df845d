"""Layers in registries: found, brought, stored while a build goes on, signed, verified, pruned, pushed under a name.

`session` is where a build meets its caches; `lookup` says what they hold, `publish` and `upload` store. `entry` has the
format of an entry, `maintenance` and `verify` are what `dibo cache` does, `secret_scan` keeps secrets here. Others use
`session`, `lookup.Caches`, `push_image`, `maintenance` and `verify`.
"""
