"""Commands that take images from a project file: which image a name means, what is made of it, and new files."""
