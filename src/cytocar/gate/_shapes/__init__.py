"""Gates as shapes on scales: rectangles, polygons, ellipsoids, quadrants."""
