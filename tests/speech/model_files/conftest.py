"""The frozen and the memory-mapped model that the OpenVINO step is tested with, too."""

from tests.components.convert_openvino.conftest import frozen, mapped

__all__ = ["frozen", "mapped"]
