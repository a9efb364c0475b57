"""Networks, their weights, measurements and experts, augmentation and losses."""
