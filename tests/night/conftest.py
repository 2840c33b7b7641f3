"""The stages of the simulated night."""

from real_night import calibrated, closed, redone, sequenced, simulated, simulated_closing

__all__ = ["calibrated", "closed", "redone", "sequenced", "simulated", "simulated_closing"]
