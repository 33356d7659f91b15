"""From a slow pipeline to a fast one, which learns from it."""
