"""What Catga costs, as ratios to the same done by hand or by the raw client, measured in one run."""
