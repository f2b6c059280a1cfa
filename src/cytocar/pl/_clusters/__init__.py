"""Figures of clusters: heat map, frequencies, stability, the FlowSOM tree."""
