"""Builds the layers of a stack: `build` is the spine, from settings to layers in an engine's store.

`engine` is the contract of engines, which are in `engines/`; `bases/` has the kinds of bases. `context` stages the
input of a step, `host_hooks` runs hooks on this machine, `sandbox` confines steps, `secrets` keeps values out of
layers, `containerfile` writes the same steps for `buildah build`. Others use `build`, `engine`, `engines.choose` and
`containerfile`.
"""
