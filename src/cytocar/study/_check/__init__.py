"""Every problem of a study, found before it is run."""
