"""Is this survey too different from what the model was taught with?

A model keeps a sample of the galaxies that it was taught with but not trained on: where they lie in its embedding,
what their pixels look like, how sure it was of each question and whether it was right (`sample`). Galaxies of
another survey are compared with them: how well the two can be told apart (`two_samples`), in which respects their
pixels differ (`compare`), and what the model's answers are expected to be worth on them (`expected`).
"""
