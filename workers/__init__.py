"""The only place that knows dramatiq: broker, actors, outbox relay."""
