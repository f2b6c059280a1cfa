"""Gates as shapes on scales: rectangles, polygons, ellipsoids, quadrants, and documents of them."""
