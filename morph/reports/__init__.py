"""Building blocks of reports: the style of figures, and HTML templates."""
