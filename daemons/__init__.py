"""Long-running processes, one file each. Empty until the grid lands."""
