"""The metric server: collects the figures of all processes and renders the page for Prometheus."""
