"""The steps of the analysis around lstchain, one file a step; lstchain's flags are known here alone."""
