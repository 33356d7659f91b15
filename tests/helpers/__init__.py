"""What several test modules share: builders of pipelines, files and runs."""
