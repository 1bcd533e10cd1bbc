"""prelabels: what the champion says of documents that nobody labelled yet (SPEC D7)."""
