"""Whatever is not known of a galaxy, inferred from what is."""
