"""What all figures share: style, text that fits, sheets, pictures, input."""
