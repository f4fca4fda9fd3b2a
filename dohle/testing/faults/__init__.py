"""What goes wrong in a simulated world, and the storm that brings it about."""
