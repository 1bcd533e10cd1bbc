"""Speed, memory and quality beside their peers; each module is a script."""
