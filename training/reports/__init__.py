"""One page of pictures that says what a model does."""
