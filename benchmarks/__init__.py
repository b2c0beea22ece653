"""Scripts that measure: speed now, tasks and leaderboard later."""
