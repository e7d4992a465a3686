"""a study -> runs -> statistics -> report. The laboratory compares initializers honestly."""
