//! Numbers in captured response fields, spread over histograms.

use crate::core::filter::CaptureSpec;
use crate::core::fleet::live::FrontendLive;
use crate::core::log::record::CapturedValue;
use crate::core::stats::counters::Shard;
use crate::core::stats::histogram::thousandths;

/// Notes every captured value that is a number. Those in `cut` (the first being the lowest bit) are not whole and so not
/// the number that was sent.
pub(super) fn observe(live: &FrontendLive, shard: Shard, spec: &CaptureSpec, values: &[CapturedValue], cut: u64) {
    let named = live.named();
    for (n, ((value, capture), numbers)) in values.iter().zip(&spec.response).zip(&named.captured).enumerate() {
        let is_cut = n >= 64 || cut >> n & 1 == 1;
        // A reload may have changed the captures since this request began.
        if value.is_empty() || is_cut || numbers.header != capture.header {
            continue;
        }
        if let Some(number) = thousandths(value) {
            numbers.values.observe(shard, number);
        }
    }
}
