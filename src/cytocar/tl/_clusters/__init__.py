"""Cells of like markers: PhenoGraph, FlowSOM, what a cluster is made of, and how far clusterings agree."""
