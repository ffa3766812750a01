//! The operating system: clocks, workers, signals, descriptors.
