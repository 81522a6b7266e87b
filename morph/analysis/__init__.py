"""What catalogues are for: hosts of transients."""
