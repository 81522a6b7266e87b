"""Galaxies drawn by a model's latent prior, observed as a survey does, and single galaxies with one thing changed."""
