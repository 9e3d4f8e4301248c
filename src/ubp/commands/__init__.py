"""What the commands do; the same functions serve Python."""
