"""Spillover: the matrix, its estimation from single stains, compensation and its audit."""
