"""Build networks by name: the laboratory's, timm's or a user's.

`fused` computes SimpleCNN faster on a CPU, bit for bit.
"""
