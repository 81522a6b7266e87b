"""The verbs of `morph` that serve and score: one file each."""
