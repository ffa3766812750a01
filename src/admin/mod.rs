//! The admin sockets: connections, levels, prompt mode; what is said on them is `core::admin`.
