#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = lockgate_fuzz::http::response_head(data);
});
