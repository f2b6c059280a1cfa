"""Floor 2: FCS files to AnnData and back, the sample sheet and the study folder."""
