"""The leaderboard: methods run on tasks, result files that can be checked, and the board made of them."""
