"""Running a plan on this machine: jobs, worker processes, progress."""
