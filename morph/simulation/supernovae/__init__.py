"""Transients on galaxies: templates, searches and differences with the truth."""
