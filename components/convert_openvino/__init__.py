"""ExportedModel -> IntermediateRepresentation."""
