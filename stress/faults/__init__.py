"""Faults: kill, fill, forbid, interrupt and double every command that writes."""
