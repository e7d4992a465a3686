"""a study under way, an analysis -> what a terminal shows."""
