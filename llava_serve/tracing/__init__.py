"""Traces of requests, sent by OpenTelemetry's protocol where a command is given an endpoint."""
