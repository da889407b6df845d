"""Pipelines of CI services that bake a project: jobs from its graph, and files for GitLab and GitHub; pure."""
