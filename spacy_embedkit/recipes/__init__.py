"""Recipes for configs: what a user has and wants, to a config that trains."""
