"""The API documentation: /openapi.json, /asyncapi.json and /docs."""
