"""Compare arms at the same seeds, and say in one sentence what that shows.

Statistics, analysis, and the rows and sentences that every display shares.
"""
