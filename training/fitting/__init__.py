"""Training a classifier: batches, the loss, and everything that is fitted after the last epoch."""
