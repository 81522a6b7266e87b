"""Galaxies with known structure, observed as a survey sees them, with the votes that volunteers would give."""
