//! HTTP messages: heads, framing and the fields that steer a proxy.

pub mod head;

pub use head::{Head, Known, Version};
