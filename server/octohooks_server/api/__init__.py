"""The gRPC API: one servicer per resource, and what all calls pass through."""
