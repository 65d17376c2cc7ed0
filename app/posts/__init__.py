"""Posts, follows ("friends" in the API), and the outbox of events that reach the workers."""
