"""reading: files, databases and packages become documents (SPEC D2)."""
