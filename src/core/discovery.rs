//! When a name is looked up again, and which answer counts.
