"""What catalogues and images are for: hosts of transients, the census, stacks, restored images."""
