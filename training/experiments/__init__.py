"""What MLflow keeps of runs and models."""
