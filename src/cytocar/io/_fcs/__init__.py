"""FCS files: header, text, events, reading, writing, joining."""
