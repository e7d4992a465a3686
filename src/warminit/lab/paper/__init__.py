"""the paper's own figures, and a study's beside them, cell by cell."""
