"""The comparison of `vss` with what people would pick instead. `make bench-peers` runs it; see `__main__`."""
