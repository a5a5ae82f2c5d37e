"""Our C++: built once, found again, and what the processor offers it. And that of others, tried in a child process."""
