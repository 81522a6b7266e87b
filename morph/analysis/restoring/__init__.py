"""Restored images: of files and tiles, and of datasets."""
