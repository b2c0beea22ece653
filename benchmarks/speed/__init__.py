"""Speed benchmarks: ratios from alternating runs on one machine."""
