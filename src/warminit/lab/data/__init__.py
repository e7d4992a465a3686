"""a name, folder or file -> decoded uint8 images, cached. The steps behind `datasets.py`."""
