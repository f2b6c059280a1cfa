"""Arrays in, numbers out: curves fitted to one marker, and how far they move when cells are drawn again."""
