"""How was this network trained? Classifiers kept in files, their calibration, and networks of others read by them."""
