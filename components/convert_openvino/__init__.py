"""ExportedModel -> IntermediateRepresentation."""

import speech.ir  # noqa: F401  before OpenVINO is imported, to keep it quiet
