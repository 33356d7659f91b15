"""Static vectors: the table that pipelines read, and what makes it."""
