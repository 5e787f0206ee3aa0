"""The model backend process, one a rank: carries out the router's step plans.

Only `torch_backend` and what it imports (`sampling`, `batching`, ...) need torch; the mock backend runs without it.
"""
