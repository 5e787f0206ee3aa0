"""The wire: every frame that passes between two processes, and the sockets that carry them.

One module a conversation: `requests` (HTTP and router), `steps` (router and backend ranks), `control`
(supervisor and its children), `telemetry` (everybody and the health and metric servers).
Each receiving socket has one tagged union and one decoder. Frames are msgpack arrays whose first element is the tag.
"""
