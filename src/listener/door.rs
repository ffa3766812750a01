//! A bind's listening socket on one worker, which can be paused, opened again and shut for good.
//!
//! A paused TCP socket keeps its descriptor and its address, and the kernel refuses clients (`shutdown` and `listen`, as
//! HAProxy does): nothing has to be bound again, which a process that gave up its privileges could not do. A unix socket
//! knows no such thing; its file steps aside, so that clients find nobody there.
//!
//! What the kernel had taken in before is not lost: it is accepted first and served.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::accept::{Acceptor, is_of_one_connection};
use super::bind::OpenListener;
use crate::core::fleet::frontends::FrontendStatus;
use crate::runtime::socket::Socket;

/// Pause after an accept that failed for want of descriptors or memory.
const BACKOFF: Duration = Duration::from_millis(100);

/// An accepted connection and its client; `None` on unix sockets.
pub type Arrived = (Socket, Option<SocketAddr>);

/// Where the connections of one bind come in on one worker.
#[derive(Debug)]
pub struct Door {
    acceptor: RefCell<Option<Acceptor>>,
    status: Cell<FrontendStatus>,
    /// Accepted when the door was paused or shut, and not yet asked for.
    taken_in: RefCell<VecDeque<Arrived>>,
    /// Of whoever waits in [`Door::next`].
    waker: RefCell<Option<Waker>>,
    backlog: u32,
    /// The file of a unix socket, on the one worker that looks after it.
    file: Option<PathBuf>,
}

impl Door {
    /// Registers an open listener with the runtime of the calling worker. `file` is the unix socket's that this worker
    /// is to move aside and back.
    pub fn open(listener: OpenListener, backlog: u32, file: Option<PathBuf>) -> io::Result<Door> {
        Ok(Door {
            acceptor: RefCell::new(Some(Acceptor::register(listener)?)),
            status: Cell::new(FrontendStatus::Open),
            taken_in: RefCell::default(),
            waker: RefCell::default(),
            backlog,
            file,
        })
    }

    /// The next connection; `None` once the door is shut and empty. Errors of a single connection are skipped; for want
    /// of descriptors it waits and tries again.
    pub async fn next(&self) -> Option<Arrived> {
        let mut warned = false;
        loop {
            let error = match poll_fn(|cx| self.poll_next(cx)).await {
                None => return None,
                Some(Ok(arrived)) => return Some(arrived),
                Some(Err(error)) => error,
            };
            if is_of_one_connection(&error) {
                continue;
            }
            if !warned {
                tracing::warn!(%error, "cannot accept, waiting for descriptors");
                warned = true;
            }
            tokio::time::sleep(BACKOFF).await;
        }
    }

    fn poll_next(&self, cx: &mut std::task::Context<'_>) -> Poll<Option<io::Result<Arrived>>> {
        if let Some(arrived) = self.taken_in.borrow_mut().pop_front() {
            return Poll::Ready(Some(Ok(arrived)));
        }
        match (self.status.get(), &*self.acceptor.borrow()) {
            (FrontendStatus::Open, Some(acceptor)) => {
                if let Poll::Ready(accepted) = acceptor.poll_accept(cx) {
                    return Poll::Ready(Some(accepted));
                }
            }
            (FrontendStatus::Paused, Some(_)) => {}
            (FrontendStatus::Stopped, _) | (_, None) => return Poll::Ready(None),
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Opens, pauses or shuts. Errors leave it as it was.
    pub fn set(&self, status: FrontendStatus) -> io::Result<()> {
        let before = self.status.get();
        if status == before || before == FrontendStatus::Stopped {
            return Ok(());
        }
        match status {
            FrontendStatus::Open => self.resume()?,
            FrontendStatus::Paused => self.pause()?,
            FrontendStatus::Stopped => self.shut(),
        }
        self.status.set(status);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
        Ok(())
    }

    fn pause(&self) -> io::Result<()> {
        let acceptor = self.acceptor.borrow();
        let Some(acceptor) = &*acceptor else { return Ok(()) };
        if let Some(path) = &self.file {
            std::fs::rename(path, aside(path))?;
        }
        acceptor.hold_back()?;
        self.take_in(acceptor);
        acceptor.refuse()
    }

    fn resume(&self) -> io::Result<()> {
        if let Some(path) = &self.file {
            std::fs::rename(aside(path), path)?;
        }
        let mut acceptor = self.acceptor.borrow_mut();
        if let Some(refusing) = acceptor.take() {
            *acceptor = Some(refusing.listen_again(self.backlog)?);
        }
        Ok(())
    }

    fn shut(&self) {
        let Some(acceptor) = self.acceptor.borrow_mut().take() else { return };
        if let Some(path) = &self.file {
            let _ = std::fs::remove_file(if self.status.get() == FrontendStatus::Paused {
                aside(path)
            } else {
                path.clone()
            });
        }
        if self.status.get() == FrontendStatus::Open {
            let _ = acceptor.hold_back();
            self.take_in(&acceptor);
        }
    }

    /// Accepts what the kernel has taken in.
    fn take_in(&self, acceptor: &Acceptor) {
        loop {
            match acceptor.accept_now() {
                Ok(arrived) => self.taken_in.borrow_mut().push_back(arrived),
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => return,
            }
        }
    }
}

/// Where the file of a paused unix socket is.
pub fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".paused");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    use super::*;
    use crate::config::model::{Bind, BindAddress, UnixSocket};
    use crate::core::fleet::spec::FrontendIndex;
    use crate::listener::bind;

    fn bind_of(address: BindAddress) -> Bind {
        Bind {
            frontend: FrontendIndex(0),
            number: 1,
            name: None,
            address,
            tls: None,
            protocol: Default::default(),
            backlog: 64,
        }
    }

    async fn is_served(door: &Door) -> bool {
        tokio::time::timeout(Duration::from_secs(5), door.next()).await.is_ok_and(|arrived| arrived.is_some())
    }

    #[tokio::test]
    async fn a_paused_socket_refuses_and_listens_again_at_the_same_address() {
        // Port 0 is the hard case: the kernel, which chose it, would choose another one.
        let mut opened = bind::open(&bind_of(BindAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into())), 2).unwrap();
        let OpenListener::Tcp(listener) = &opened[0] else { panic!("TCP was asked for") };
        let address = listener.local_addr().unwrap();
        let doors: Vec<Door> = opened.drain(..).map(|l| Door::open(l, 64, None).unwrap()).collect();
        for _ in 0..3 {
            let early: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
            for door in &doors {
                door.set(FrontendStatus::Paused).unwrap();
            }
            for _ in 0..4 {
                let refused = TcpStream::connect(address).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            }
            let mut kept = 0;
            for door in &doors {
                while !door.taken_in.borrow().is_empty() {
                    assert!(is_served(door).await);
                    kept += 1;
                }
            }
            assert_eq!(kept, early.len(), "who was taken in before is served");
            for door in &doors {
                door.set(FrontendStatus::Open).unwrap();
            }
            let _late = TcpStream::connect(address).unwrap();
            let [a, b] = &doors[..] else { panic!("two workers") };
            tokio::select! {
                served = is_served(a) => assert!(served),
                served = is_served(b) => assert!(served),
            }
        }
        for door in &doors {
            door.set(FrontendStatus::Stopped).unwrap();
            assert!(door.next().await.is_none());
        }
        assert!(TcpStream::connect(address).is_err());
    }

    #[tokio::test]
    async fn whoever_waits_at_a_paused_door_is_woken_when_it_opens() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let mut opened = bind::open(&bind_of(BindAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into())), 1).unwrap();
                let OpenListener::Tcp(listener) = &opened[0] else { panic!("TCP was asked for") };
                let address = listener.local_addr().unwrap();
                let door = Rc::new(Door::open(opened.remove(0), 64, None).unwrap());
                let waiting = tokio::task::spawn_local({
                    let door = door.clone();
                    async move { door.next().await.is_some() }
                });
                tokio::task::yield_now().await;
                door.set(FrontendStatus::Paused).unwrap();
                tokio::task::yield_now().await;
                door.set(FrontendStatus::Open).unwrap();
                let _client = TcpStream::connect(address).unwrap();
                let woken = tokio::time::timeout(Duration::from_secs(5), waiting).await;
                assert!(woken.expect("it is woken").unwrap());
            })
            .await;
    }

    #[derive(Default)]
    struct Wakes(std::sync::atomic::AtomicUsize);

    impl std::task::Wake for Wakes {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_door_that_opened_again_sleeps_while_nobody_comes() {
        let mut opened = bind::open(&bind_of(BindAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into())), 1).unwrap();
        let door = Door::open(opened.remove(0), 64, None).unwrap();
        for _ in 0..2 {
            door.set(FrontendStatus::Paused).unwrap();
            // The kernel's word that the socket was shut reaches the runtime.
            tokio::time::sleep(Duration::from_millis(20)).await;
            door.set(FrontendStatus::Open).unwrap();
            let wakes = std::sync::Arc::new(Wakes::default());
            let waker = Waker::from(wakes.clone());
            assert!(door.poll_next(&mut std::task::Context::from_waker(&waker)).is_pending());
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(wakes.0.load(std::sync::atomic::Ordering::Relaxed), 0, "woken for nothing");
        }
    }

    #[tokio::test]
    async fn the_file_of_a_unix_socket_steps_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.sock");
        let unix = UnixSocket { path: path.clone(), mode: None, user: None, group: None };
        let mut opened = bind::open(&bind_of(BindAddress::Unix(unix)), 1).unwrap();
        let door = Door::open(opened.remove(0), 64, Some(path.clone())).unwrap();
        let _early = UnixStream::connect(&path).unwrap();
        door.set(FrontendStatus::Paused).unwrap();
        assert!(UnixStream::connect(&path).is_err());
        assert!(is_served(&door).await);
        door.set(FrontendStatus::Open).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        let (Socket::Unix(served), _) = door.next().await.unwrap() else { panic!("a unix socket") };
        let mut served = served.into_std().unwrap();
        served.set_nonblocking(false).unwrap();
        client.write_all(b"x").unwrap();
        served.read_exact(&mut [0]).unwrap();
        door.set(FrontendStatus::Paused).unwrap();
        door.set(FrontendStatus::Stopped).unwrap();
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is left behind");
    }
}
