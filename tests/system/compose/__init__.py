"""docker-compose.yml started for real, and everything that docs/compose.md says done with it.

`make compose` gets the images first. Without an engine, or without the images, all is skipped.
"""
