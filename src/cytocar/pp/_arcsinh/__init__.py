"""Counts to arcsinh values."""
