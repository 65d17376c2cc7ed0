"""Background processing with dramatiq: broker, actors, outbox relay. No other package imports dramatiq."""
