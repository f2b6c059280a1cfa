"""Two dimensions for looking: t-SNE and UMAP."""
