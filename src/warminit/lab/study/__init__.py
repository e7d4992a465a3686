"""Read what is asked: a study file or keyword arguments become a checked `Study`.

It imports nothing that trains, so that a wrong key is named at once.
"""
