//! What an error does: status, log flags and whether it is retried. One table.
