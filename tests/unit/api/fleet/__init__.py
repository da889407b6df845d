"""Bakes on workers of Dask."""
