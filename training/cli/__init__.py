"""The verbs of `morph` that learn: one file each."""
