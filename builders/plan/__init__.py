"""What a build trains: which trainings, in which jobs, at what cost."""
