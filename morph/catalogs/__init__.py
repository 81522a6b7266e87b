"""Catalogues of galaxies: read in any format and with any columns, selected, and indexed by position."""
