"""The HTTP surface, tested by tools that others wrote: schemathesis over /openapi.json, newman over the collection."""
