"""The routes, a module a family."""
