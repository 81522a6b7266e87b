"""Training sets for photometric redshifts, filled with samples where spectra are missing."""
