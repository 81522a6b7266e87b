"""Catalogues of galaxies that people have: in whatever format and columns, with a selection, by the tile."""
