"""A study folder made from the headers of FCS files."""
