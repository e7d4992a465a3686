"""Keep the results of a study in one SQLite file.

One writer, one transaction a run: killed at any time, it goes on.
"""
