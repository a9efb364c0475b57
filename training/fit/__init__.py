"""Training: an epoch, a stage, cross-validation, checkpoints, several processes."""
