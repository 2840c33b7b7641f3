"""Jobs that cron starts: when, with what around them, and whom their failures are told."""
