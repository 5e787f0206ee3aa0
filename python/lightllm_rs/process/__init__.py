"""A child process of the service: how it starts, and how it talks to the supervisor and the two servers of figures.

Every child is `python -m lightllm_rs.process`, reads a `ChildStart` from its standard input, and runs
`run(child)` of the `main` module of its package.
"""
