"""The clients of a simulated run."""
