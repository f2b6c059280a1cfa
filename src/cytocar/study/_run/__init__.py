"""The run: files, workers, clusters and maps, the output folder."""
