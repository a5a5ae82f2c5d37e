"""Our C++: built once, found again, and what the processor offers it."""
