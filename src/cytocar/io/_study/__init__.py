"""The study folder: settings, sample sheet, what they name."""
