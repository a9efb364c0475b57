"""Training: chips with labels become one model file. May import shipchip, never serving."""
