"""One galaxy's pixels: cut out, resampled, measured and flagged."""
