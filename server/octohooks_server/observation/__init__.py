"""What is seen of a server from outside: metrics, traces and health, at ports of their own."""
