"""The verbs that simulate, and `morph quickstart`: one file each."""
