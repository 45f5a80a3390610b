"""Figures of the paper and of the corridor meter, drawn from one protocol's tables."""
