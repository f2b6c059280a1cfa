"""How far the headline numbers depend on the thresholds and on the rules that found them."""
