"""Vertical Assets: a Dagster asset graph that builds domain language models."""
