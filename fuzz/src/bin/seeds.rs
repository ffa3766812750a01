//! Writes the corpora that fuzzing starts from: the tables of raw requests and answers, cut to what each target reads.

use std::path::Path;

#[path = "../../../tests/wire/cases.rs"]
#[allow(dead_code)]
mod cases;

fn main() -> std::io::Result<()> {
    let requests = cases::read(include_str!("../../../tests/wire/requests.txt"));
    let responses = cases::read(include_str!("../../../tests/wire/responses.txt"));
    for (number, case) in requests.iter().chain(&responses).enumerate() {
        let head = if number < requests.len() { "request_head" } else { "response_head" };
        seed(head, number, &case.input)?;
        if let Some(end) = case.input.windows(4).position(|w| w == b"\r\n\r\n") {
            seed("chunked_body", number, &case.input[end + 4..])?;
        }
        if let Some(target) = case.input.split(|&b| b == b' ').nth(1) {
            seed("host_uri", number, target)?;
        }
        for line in case.input.split(|&b| b == b'\n') {
            if let Some(host) = line.strip_prefix(b"Host: ") {
                seed("host_uri", 10_000 + number, host.trim_ascii())?;
            }
        }
    }
    let tcp4 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x18\xc0\0\x02\x07\xc6\x33\x64\x09\x12\x67\x20\xfb\x02\0\x09a.example";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (number, header) in
        [&b"PROXY TCP4 192.0.2.7 198.51.100.9 4711 8443\r\n"[..], b"PROXY UNKNOWN\r\n", tcp4, local].iter().enumerate()
    {
        seed("proxy_header", number, header)?;
    }
    for (number, cookies) in ["SRV=a", "a=1; SRV=b; c=\"d;\"", "SRV;SRV=;=SRV; ;", "SRV=1;SRV=2"].iter().enumerate() {
        seed("cookie", number, cookies.as_bytes())?;
    }
    Ok(())
}

fn seed(target: &str, number: usize, bytes: &[u8]) -> std::io::Result<()> {
    if bytes.is_empty() || bytes.len() > 4096 {
        return Ok(());
    }
    let folder = Path::new("corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(format!("seed-{number:05}")), bytes)
}
