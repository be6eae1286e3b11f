"""Annotated images: which files belong together, and one form of boxes whatever format they were stored in."""
