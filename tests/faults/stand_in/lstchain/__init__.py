"""Stands for lstchain: makes small products at once, and can be held in mid-write."""
