"""What a build will cost, before it starts."""
