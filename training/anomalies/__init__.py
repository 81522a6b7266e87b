"""Strange galaxies: planting them, teaching the score, and measuring what it finds."""
