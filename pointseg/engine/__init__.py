"""Training: losses, optimisers, schedules, the loop, checkpoints and logs."""
