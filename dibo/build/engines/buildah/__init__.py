"""The engine `buildah`: images and commits by buildah's commands, without a daemon and without root."""
