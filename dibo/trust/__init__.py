"""Signatures of images in registries, and the policy that says whose signatures count.

`keys` reads, makes and uses key pairs, `claims` is what a signature says, `attached` stores and reads signatures in a
registry as cosign does, `policy` says which keys count for which repository. Others start with `policy.Trust`.
"""
