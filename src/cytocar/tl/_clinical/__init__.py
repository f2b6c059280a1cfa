"""Patient tables: response, survival, pooled proportions."""
