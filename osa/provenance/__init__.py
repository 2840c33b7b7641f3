"""Where products come from: put together from the records of all tries."""
