"""Image files: their formats, the one function that opens them, and the one walk over folders."""
