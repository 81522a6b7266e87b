"""The verbs of `morph` that train and evaluate: one file each."""
