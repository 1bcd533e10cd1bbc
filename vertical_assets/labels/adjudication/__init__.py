"""Adjudication: whether annotators agree, and what a person has to decide where they don't."""
