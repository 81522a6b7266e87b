"""Scores: a file for each tile, their reader, and the catalogue and report made from them."""
