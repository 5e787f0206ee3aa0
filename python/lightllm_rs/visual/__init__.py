"""The visual server: takes images out of the cache, and puts their features there."""
