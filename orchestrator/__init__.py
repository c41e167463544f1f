"""Customer journey orchestration on Kafka: one customer, one ordered log, one state."""
