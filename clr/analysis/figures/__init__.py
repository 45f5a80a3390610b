"""The paper's figures, drawn from the tables of one protocol."""
