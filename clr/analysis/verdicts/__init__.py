"""What the records of one protocol say about the paper's claims, and whether two protocols' records agree."""
