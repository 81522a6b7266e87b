"""A deployment on stock TensorFlow Serving: the files for it, and what finds their mistakes without a cluster.

The files are templates, in which {name} is the model's name: three configurations that every server reads,
Docker Compose (`compose/`), Kubernetes (`kubernetes/`) and what watches either (`monitoring/`).
"""
