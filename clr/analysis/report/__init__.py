"""Report of one protocol's results: one HTML page that needs no network."""
