"""The arena: methods with equal budgets for tuning, compared seed by seed with SGD and CLR."""
