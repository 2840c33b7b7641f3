"""From the inputs of a night (night summary, override, logs of the drive, raw files) to its sequences."""
