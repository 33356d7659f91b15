"""Compare stock pipelines with accelerated ones, token by token."""
