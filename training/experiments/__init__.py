"""Runs and models in MLflow: tracking, registry, comparison, promotion."""
