"""ExportedModel + Corpus -> scores and report."""
