"""Images of the project file on command lines, and the command that writes such a file."""
