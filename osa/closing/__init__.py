"""Closing a night: is it complete, what has to be merged and moved, and doing so."""
