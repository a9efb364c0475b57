"""The int8 form of an exported model."""
