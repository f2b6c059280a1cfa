"""Nearest neighbours of cells among the markers: exact, or list by list where cells are many."""

from cytocar.tl._neighbours.nearest import Neighbours, distances, nearest_neighbours, nearest_to, search

__all__ = ["Neighbours", "distances", "nearest_neighbours", "nearest_to", "search"]
