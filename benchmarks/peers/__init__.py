"""What the service is compared with: the same model, served as one would at first."""
