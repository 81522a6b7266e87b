"""What reports are made of: the style of figures, and HTML pages."""
