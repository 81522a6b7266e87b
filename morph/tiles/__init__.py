"""A survey's images: which files are a tile, where tiles lie and overlap, and their rows from bottom to top."""
