"""A transformer as a teacher: its token vectors, reduced and kept on disk."""
