//! Getting log lines out: per-worker batches, one writer, syslog transports.
