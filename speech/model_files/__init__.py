"""Model files without the libraries that made them: checkpoints, pb, pbmm, tflite."""
