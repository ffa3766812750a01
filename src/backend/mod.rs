//! The server side: connections, their pools, leases.
