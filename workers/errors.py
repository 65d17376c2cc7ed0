"""Errors raised by an unavailable broker."""

import redis
from dramatiq.errors import BrokerConnectionError
from pika.adapters.utils.connection_workflow import AMQPConnectorException

# A RabbitMQ that freezes while connecting raises pika's error, which dramatiq does not wrap.
BROKER_UNAVAILABLE = (BrokerConnectionError, AMQPConnectorException, redis.ConnectionError, redis.TimeoutError)
