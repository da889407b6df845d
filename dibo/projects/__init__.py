"""The project file: `dibo.yaml` in a repository, which names images and says how each is built.

    dibo.yaml ──find──► read, include ──► inherit, matrix ──► parse ──► model.Project ──settings_of──► Settings

For others: `find.find_project` (where the file is), `load.load_project` (the file, read and checked), `model` (the
values), `select` (images by their names), `settings.settings_of` (what a command needs to build one: the same
`Settings` that its options make). `schema.PROJECT_SCHEMA` describes the file to editors. Nothing here builds anything.
"""
