"""Read a data set by name, folder or file. Its images are decoded to uint8, checked and cached."""
