"""Similarity search: an index on disk of the similarity vectors of a survey's galaxies, its builder, and the search.

index = Index.open("galaxies.index")
hits = index.search(index.vector_of("DES0356-5248-17"), n=100, where="mag_r < 20")
"""

from serving.similarity.index import Index

__all__ = ["Index"]
