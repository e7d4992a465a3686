"""model, images -> model: the candidates and studies of the search for a default."""
