"""The corpus on disk: shards, parts, tables, and how finished work is put in place."""
