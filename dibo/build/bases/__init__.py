"""Bases: what the first layer of a build is made of.

`choose` has the table of kinds and makes a base from what the user wrote; `debian`, `ubuntu`, `image` and `tarball` are
the kinds, each a `dibo.plan.base.Base`. `settings` is what they are made with; `mirror`, `releases`, `signature` and
`signedlist` serve Debian and Ubuntu. Others use `choose` and `settings`.
"""
