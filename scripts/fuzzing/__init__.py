"""What the scripts that try damaged input have in common."""
