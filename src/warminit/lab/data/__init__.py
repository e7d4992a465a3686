"""Read a data set by name, folder or file into decoded, cached uint8 images."""
