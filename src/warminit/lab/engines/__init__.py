"""many runs -> many results, in processes on this machine or on a cluster."""
