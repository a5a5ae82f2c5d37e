"""OpenVINO's IR: what its files say, read without OpenVINO, and the one place that runs it."""

import sys

# OpenVINO would send its maker a message whenever it is imported. Without the package that does so it goes on quietly.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
