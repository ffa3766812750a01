//! TLS termination: certificates, resumption, handshakes.
