"""A census of morphology: fractions by magnitude and redshift, corrected, and a continuous type of every galaxy."""
