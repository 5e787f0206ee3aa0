"""The HTTP server process: the API, validation, chat templates, tokens to text, streams.

A request comes in through `door`, is read by a module of `routes`, becomes a `Call` of several `Choice`s, and leaves
as one answer or as an `EventStream`. `engine` is the conversation with the router.
"""
