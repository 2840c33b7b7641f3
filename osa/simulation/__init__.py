"""A night that was made, not taken: raw files, logs, tables and forests that lstchain accepts.

Only :mod:`osa.simulation.plan` is light; the other modules import lstchain's libraries when used.
"""
