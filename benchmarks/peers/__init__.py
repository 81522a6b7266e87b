"""Other servers of an exported model, set up as well as we know how, for `benchmarks/server_peers.py`.

Each wants a Python of its own, with TensorFlow and `tensorflow-serving-api` besides its own packages, so that what it
brings never meets what morph needs:

    python -m venv /tmp/ray && /tmp/ray/bin/pip install "ray[serve-grpc]" tensorflow tensorflow-serving-api
    python -m venv /tmp/bentoml && /tmp/bentoml/bin/pip install bentoml uvloop httptools tensorflow

What "well" means, by what each one's documentation and source advise for a model that fills the machine:

- **Ray Serve** (`ray_serve.py`): TensorFlow Serving's own Predict over gRPC, one replica with all cores, in Ray's mode
  for throughput, in which the replica takes the requests itself and no proxy stands between; `@serve.batch`; the
  network runs in a thread, so that the replica receives while it computes. *Ray proxy* is the same without that mode:
  requests come through Ray's proxy, as its guide to gRPC has it.
- **BentoML** (`bentoml_service.py`): it speaks no gRPC any more, so pixels travel as the raw body of HTTP/1.1 instead
  of JSON, forms or files; uvloop and httptools; one worker with all cores, adaptive batching; the network runs in
  BentoML's thread.

Both load the SavedModel with TensorFlow and are warmed up with batches of 1, 2, 4 to 128. `--divide` gives them what
is morph's own besides: each core a pass of its own.
"""
