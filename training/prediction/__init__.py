"""Missing properties of galaxies, inferred from known ones."""
