"""What ails a task, and what cures it: the known failures in one table, and how each is recognised."""
