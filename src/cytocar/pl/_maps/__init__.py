"""Figures of maps: t-SNE and UMAP."""
