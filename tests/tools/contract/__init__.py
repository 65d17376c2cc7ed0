"""The HTTP surface, tested by public tools and by clients that know its document only."""
