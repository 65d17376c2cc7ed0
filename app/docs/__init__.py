"""The API documentation: /openapi.json and /docs."""
