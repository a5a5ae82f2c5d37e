"""Local files and object storage behind one interface: atomic writes, `s3://` URIs, transfers that go on."""
