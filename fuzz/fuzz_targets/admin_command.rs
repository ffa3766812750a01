//! Any bytes on an admin socket: they are cut into lines, words and orders without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate::core::admin::{Input, Next, commands, parse_with};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new();
    for piece in data.chunks(7) {
        input.push(piece);
        while let Next::Line(line) = input.next() {
            for words in commands(&line.text) {
                let _ = parse_with(&words, line.payload.as_deref());
            }
        }
    }
});
