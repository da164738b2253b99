"""What the lab costs, as ratios against baselines taken in the same run: `make bench`."""
