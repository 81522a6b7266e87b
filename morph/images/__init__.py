"""Images of galaxies: tiles, cutouts, colour composites, and how large a galaxy is on them."""
