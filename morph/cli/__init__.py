"""The verbs of `morph` that need all of it, or simulation alone: one file each."""
