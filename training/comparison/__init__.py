"""Models side by side, which differences are more than noise, and which model serves."""
