"""One door for models: `model_files.open(path)` takes every file and folder of a model that this project knows.

The containers behind it (checkpoints, pb, pbmm, tflite, and the IR in `speech.ir`) are read without the libraries that
made them.
"""

from speech.model_files.door import Kind, Model, open

__all__ = ["Kind", "Model", "open"]
