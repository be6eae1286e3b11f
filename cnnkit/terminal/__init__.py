"""What is printed: the console, and names that any output can hold."""
