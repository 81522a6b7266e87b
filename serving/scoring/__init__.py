"""Scoring a survey: jobs, backends, the pipeline of a tile, Dask clusters, and the plan of a run."""
