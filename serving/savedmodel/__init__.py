"""Exported models: written as SavedModels, found on disk or in an object store, and run."""
