"""Photometric redshifts: how well they agree with the true ones."""
