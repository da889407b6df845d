"""Engines: programs that run steps in containers and keep the layers.

`table` lists them; each is a folder with an `EngineKind` and an `Engine` of `dibo.build.engine`. `choose` opens one,
and is what others use. `base_layer` makes the tar of a base, `listener` reads what a step prints, `image_names` has the
names under which layers are stored: the same for every engine.
"""
