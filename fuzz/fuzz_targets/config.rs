#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    lockgate::config::fuzz_config(text);
});
