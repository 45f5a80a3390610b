"""The report: one page of a protocol's results, that opens without a network."""
