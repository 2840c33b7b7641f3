"""Putting away what closed nights leave behind."""
