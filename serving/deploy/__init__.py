"""A deployment on stock TensorFlow Serving: its files, and checks that find their mistakes without a cluster.

The files are templates, in which {name} is the model's name: three configurations that every server reads,
Docker Compose (`compose/`), Kubernetes (`kubernetes/`) and monitoring of either (`monitoring/`).
"""
