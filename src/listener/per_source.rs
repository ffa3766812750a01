//! Connections at once per source address (`maxconn_per_source`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts of one frontend; bounded by its connections, because an address without connections has no entry.
#[derive(Debug, Default)]
pub struct PerSource {
    counts: Mutex<HashMap<IpAddr, u32>>,
}

/// One counted connection; uncounted when dropped.
#[derive(Debug)]
pub struct SourcePlace {
    table: Arc<PerSource>,
    address: IpAddr,
}

impl PerSource {
    /// Counts one more connection of `address`, unless it has `limit` already.
    pub fn enter(self: &Arc<Self>, address: IpAddr, limit: u32) -> Option<SourcePlace> {
        let address = address.to_canonical();
        let mut counts = self.counts.lock();
        let count = counts.entry(address).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(SourcePlace { table: self.clone(), address })
    }
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        let mut counts = self.table.counts.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_gets_its_places_and_gives_them_back() {
        let table = Arc::new(PerSource::default());
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let first = table.enter(a, 2).unwrap();
        let _second = table.enter("::ffff:192.0.2.1".parse().unwrap(), 2).unwrap();
        assert!(table.enter(a, 2).is_none());
        assert!(table.enter("192.0.2.2".parse().unwrap(), 2).is_some());
        drop(first);
        assert!(table.enter(a, 2).is_some());
        assert_eq!(table.counts.lock().len(), 1);
    }
}
