"""Commands for what lies in registries: send it, list what refers to it, copy it."""
