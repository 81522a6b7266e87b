"""Public releases and one's own images and labels, as galaxies datasets."""
