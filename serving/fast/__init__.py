"""Bulk inference on processors by OpenVINO: what `Classifier.from_flux` answers, several times faster.

- `serving.fast.engine`: whether it is used;
- `serving.fast.parts`: a model's parts, converted;
- `serving.fast.cache`: conversions on disk;
- `serving.fast.model`: a converted model at work;
- `serving.fast.parity`: how far its answers may be from Keras's.
"""
