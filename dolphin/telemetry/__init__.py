"""What operators see of a running system: alerts with their sinks and the redaction law, and metrics."""
