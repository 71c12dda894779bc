"""Where the time and the memory go: latency, throughput, stages, timeline, layers, memory, structure."""
