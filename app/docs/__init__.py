"""The API, told to machines (/openapi.json) and to people (/docs)."""
