"""Results on paper: the schema of results.json, the figures, and one self-contained HTML report."""
