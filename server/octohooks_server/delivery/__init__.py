"""Deliveries on their way: what is due is claimed, sent, and its outcome recorded."""
