"""Bulk inference on CPUs with OpenVINO: the answers of `Classifier.from_flux`, several times faster.

- `serving.openvino.engine`: the choice of an engine, and conversions in the cache;
- `serving.openvino.conversion`: a model's parts, converted, and the differences that are allowed;
- `serving.openvino.model`: a converted model that runs.
"""
