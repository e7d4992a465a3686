"""Build the laboratory's networks by name, and those of a user.

`fused` computes SimpleCNN faster on a CPU, bit for bit.
"""
