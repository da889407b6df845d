"""Kits: an image with a kernel, drivers, boot loaders and a small init, for images that have none of these.

    manifest    what a kit says about itself
    make        a kit, from a root that the flavour `boot-kit` installed
    layer       the kit as an image of one layer, in an OCI layout
    push        the same into a registry
    attach      a kit on an image: their layers are one root
    choose      which kit, and with which layout
    users       who a process runs as, by the /etc/passwd and /etc/group of an image
    service     the application of an image, from its configuration, checked
    files       the application as files that the kit's init reads

Others use `make.make_kit`, `layer.write_layer`, `layer.save_kit`, `push.push_kit` and `attach.attach`. Nothing of a kit
or of an image runs on this machine.
"""
