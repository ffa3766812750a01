//! The only wiring: what starts, what stops, in which order.
