"""Studies: recordings, the trials in them and the images that were shown."""
