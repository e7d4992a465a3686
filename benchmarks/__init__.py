"""contenders, data -> measured ratios, each beside its target. Run by `make bench`."""
