"""Bulk inference on processors by OpenVINO: what `Classifier.from_flux` answers, several times faster.

- `serving.openvino.engine`: whether it is used;
- `serving.openvino.parts`: a model's parts, converted;
- `serving.openvino.cache`: conversions on disk;
- `serving.openvino.model`: a converted model at work;
- `serving.openvino.parity`: how far its answers may be from Keras's.
"""
