"""Images of the project file on command lines, and the commands for such a file: init, bake."""
