"""The report: one page of pictures that shows what a model does."""
