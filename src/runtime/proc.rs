//! What the kernel tells of this process under `/proc/self`: threads, descriptors, memory maps, memory in use.
//!
//! Reading the tables of sockets takes milliseconds per ten thousand: [`descriptors`] is for a thread that may wait.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::core::admin::descriptors::{DescriptorKind, DescriptorView};
use crate::core::admin::threads::ThreadView;

/// The threads of the process, the first one first.
///
/// # Errors
/// `/proc` is not there.
pub fn threads() -> io::Result<Vec<ThreadView>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let Ok(id) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        let read = |file: &str| fs::read_to_string(format!("/proc/self/task/{id}/{file}")).unwrap_or_default();
        let status = read("status");
        let value = |key: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            found.map(str::trim).unwrap_or_default()
        };
        let schedule = read("schedstat");
        let mut times = schedule.split_whitespace().map(|n| n.parse().unwrap_or(0));
        let switches =
            ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"].map(|k| value(k).parse().unwrap_or(0u64));
        threads.push(ThreadView {
            id,
            name: value("Name").into(),
            state: value("State").chars().next().unwrap_or('?'),
            cpu_ns: times.next().unwrap_or(0),
            waited_ns: times.next().unwrap_or(0),
            switches: switches.iter().sum(),
        });
    }
    threads.sort_by_key(|thread| thread.id);
    Ok(threads)
}

/// The number of the calling thread.
pub fn thread_id() -> u32 {
    nix::unistd::gettid().as_raw().unsigned_abs()
}

/// The open descriptors, by number.
///
/// # Errors
/// `/proc` is not there.
pub fn descriptors() -> io::Result<Vec<DescriptorView>> {
    let mut links = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        // The descriptor this folder is read with is closed by the time it is shown.
        if let (Ok(number), Ok(link)) =
            (entry.file_name().to_string_lossy().parse::<u32>(), fs::read_link(entry.path()))
        {
            links.push((number, link.to_string_lossy().into_owned()));
        }
    }
    links.retain(|(_, link)| !(link.starts_with("/proc/") && link.ends_with("/fd")));
    links.sort_unstable();
    let sockets = sockets();
    let view = |(number, link): (u32, String)| {
        let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse::<u64>().ok());
        let kind = match inode {
            Some(inode) => sockets.get(&inode).cloned().unwrap_or(DescriptorKind::Socket),
            None if link.starts_with("pipe:") => DescriptorKind::Pipe,
            None => DescriptorKind::Other(link.chars().filter(|c| !c.is_control()).collect::<String>().into()),
        };
        DescriptorView { number, kind }
    };
    Ok(links.into_iter().map(view).collect())
}

/// The sockets of this network namespace by inode.
fn sockets() -> HashMap<u64, DescriptorKind> {
    let mut sockets = HashMap::new();
    for (file, parse) in [
        ("tcp", parse_tcp as fn(&str) -> Option<(u64, DescriptorKind)>),
        ("tcp6", parse_tcp),
        ("udp", parse_udp),
        ("udp6", parse_udp),
        ("unix", parse_unix),
    ] {
        let table = fs::read_to_string(format!("/proc/self/net/{file}")).unwrap_or_default();
        sockets.extend(table.lines().skip(1).filter_map(parse));
    }
    sockets
}

/// A line of `/proc/net/tcp`: number, local, remote, state, queues, timer, retransmissions, uid, timeout, inode.
fn parse_tcp(line: &str) -> Option<(u64, DescriptorKind)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, remote) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
    let state = match *fields.get(3)? {
        "01" => "ESTABLISHED",
        "02" => "SYN_SENT",
        "03" => "SYN_RECV",
        "04" => "FIN_WAIT1",
        "05" => "FIN_WAIT2",
        "06" => "TIME_WAIT",
        "07" => "CLOSE",
        "08" => "CLOSE_WAIT",
        "09" => "LAST_ACK",
        "0A" => return Some((fields.get(9)?.parse().ok()?, DescriptorKind::Listener { local })),
        _ => "CLOSING",
    };
    Some((fields.get(9)?.parse().ok()?, DescriptorKind::Connection { local, remote, state }))
}

fn parse_udp(line: &str) -> Option<(u64, DescriptorKind)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    Some((fields.get(9)?.parse().ok()?, DescriptorKind::Datagram { local: address(fields.get(1)?)? }))
}

/// A line of `/proc/net/unix`: number, references, protocol, flags, type, state, inode, path.
fn parse_unix(line: &str) -> Option<(u64, DescriptorKind)> {
    const ACCEPTS: u32 = 0x10000;
    let fields: Vec<&str> = line.split_whitespace().collect();
    let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
    let path = fields.get(7).copied().unwrap_or_default();
    let kind = DescriptorKind::Unix { path: path.into(), listening: flags & ACCEPTS != 0 };
    Some((fields.get(6)?.parse().ok()?, kind))
}

/// `0100007F:1F90`, and 32 digits for IPv6: words of four bytes as the processor holds them.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Vec<u32> = (0..address.len() / 8)
        .map(|n| u32::from_str_radix(address.get(n * 8..n * 8 + 8)?, 16).ok())
        .collect::<Option<_>>()?;
    let ip: IpAddr = match *words {
        [v4] => Ipv4Addr::from(v4.to_ne_bytes()).into(),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            bytes.chunks_exact_mut(4).zip([a, b, c, d]).for_each(|(to, word)| to.copy_from_slice(&word.to_ne_bytes()));
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The object files in memory: first and last address, path.
pub fn libraries() -> Vec<(u64, u64, String)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut libraries: Vec<(u64, u64, String)> = Vec::new();
    for line in maps.lines() {
        let Some(at) = line.find('/') else { continue };
        let (Some(range), Some(path)) = (line.split(' ').next(), line.get(at..)) else { continue };
        let Some((from, to)) = range.split_once('-') else { continue };
        let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)) else { continue };
        match libraries.iter_mut().find(|(_, _, known)| known == path) {
            Some((first, last, _)) => (*first, *last) = ((*first).min(from), (*last).max(to - 1)),
            None => libraries.push((from, to.saturating_sub(1), path.to_owned())),
        }
    }
    libraries
}

/// Resident memory in bytes; 0 when unknown.
pub fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    pages.unwrap_or(0) * page.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn our_own_sockets_are_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let unix = UnixListener::bind(&path).unwrap();
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = v4.local_addr().unwrap();
        let client = TcpStream::connect(local).unwrap();
        let client_address = client.local_addr().unwrap();
        let (_accepted, _) = v4.accept().unwrap();
        let found = descriptors().unwrap();
        let kind = |fd: i32| &found.iter().find(|d| i64::from(d.number) == i64::from(fd)).unwrap().kind;
        assert_eq!(*kind(v4.as_raw_fd()), DescriptorKind::Listener { local });
        let connection = DescriptorKind::Connection { local: client_address, remote: local, state: "ESTABLISHED" };
        assert_eq!(*kind(client.as_raw_fd()), connection);
        let listening = DescriptorKind::Unix { path: path.display().to_string().into(), listening: true };
        assert_eq!(*kind(unix.as_raw_fd()), listening);
        if let Ok(v6) = TcpListener::bind("[::1]:0") {
            let local = v6.local_addr().unwrap();
            let found = descriptors().unwrap();
            let is_it = |d: &DescriptorView| d.kind == DescriptorKind::Listener { local };
            assert!(found.iter().any(is_it), "{found:?}");
        }
    }

    #[test]
    fn threads_have_names_and_used_time() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let started = std::sync::Arc::new(std::sync::Barrier::new(2));
        let barrier = started.clone();
        let other = std::thread::Builder::new()
            .name("worker-77".into())
            .spawn(move || {
                barrier.wait();
                let _ = stopped.recv();
            })
            .unwrap();
        started.wait();
        let threads = threads().unwrap();
        assert!(threads.iter().any(|thread| &*thread.name == "worker-77"), "{threads:?}");
        let own = threads.iter().find(|thread| thread.id == thread_id()).unwrap();
        assert!(own.state == 'R', "{own:?}");
        drop(stop);
        other.join().unwrap();
    }

    #[test]
    fn libraries_and_memory_are_known() {
        let own = std::env::current_exe().unwrap().display().to_string();
        let libraries = libraries();
        assert!(libraries.iter().any(|(from, to, path)| *path == own && from < to), "{libraries:?}");
        assert!(resident_bytes() > 1 << 20);
    }

    #[test]
    fn odd_lines_are_passed_over() {
        for line in ["", "x", "0: 0100007F 0 0A", "0: 0100007F:ZZZZ 00000000:0000 0A 0 0 0 0 0 7", "0: é:1 é:1 0A"] {
            assert_eq!(parse_tcp(line), None, "{line:?}");
            assert_eq!(parse_udp(line), None, "{line:?}");
        }
        for line in ["", "x", "ffff: 2 0 10000 1 1", "ffff: 2 0 zz 1 1 7 /path"] {
            assert_eq!(parse_unix(line), None, "{line:?}");
        }
    }
}
