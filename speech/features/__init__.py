"""Samples -> MFCC in numpy, their cache, and how a streaming model is fed."""
