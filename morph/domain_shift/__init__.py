"""How far a survey's galaxies are from those that a model was trained on.

A model keeps a reference sample: held-out galaxies of its training sets, with their embedding, their image statistics,
and the model's confidence and correctness on each question (`sample`). Galaxies of another survey are compared with
it: how well a classifier separates the two (`two_samples`), in which image statistics they differ (`compare`), and how
accurate the model's answers are expected to be on them (`expected_accuracy`).
"""
