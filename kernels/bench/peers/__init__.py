"""The peers, one file a family."""
