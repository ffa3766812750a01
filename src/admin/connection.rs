//! One admin connection: lines in, replies out.
//!
//! Without `prompt` it carries out what arrived with the first line and closes; with it, it goes on. Every reply ends
//! with one empty line. The input, the reply in flight and every wait are bounded.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Orders;
use super::answer::{Reply, answer};
use super::bind::Stream;
use crate::core::admin::input::LINE_MAX_BYTES;
use crate::core::admin::modes::{Mode, SeverityOutput};
use crate::core::admin::{Input, Level, Line, Next, commands, parse_with, texts};

/// Reply bytes gathered before they are written, so that a line of many commands does not pile replies up.
const WRITE_BYTES: usize = 64 * 1024;

/// Input dropped unread when a connection is closed because of a line that is too long: a peer that is still sending
/// would else see its connection reset before it can read why.
const DISCARD_MAX_BYTES: usize = 32 << 20;

/// How long such a peer may go on sending.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// What is kept of a connection between two commands.
pub(super) struct Connection {
    pub orders: Rc<dyn Orders>,
    /// The lines of `show cli sockets`.
    pub listed: Rc<str>,
    pub level: Level,
    pub interactive: bool,
    pub timeout: Duration,
    /// Who it is: the origin of its changes.
    pub who: Box<str>,
    /// `expert-mode`
    pub expert: bool,
    /// `experimental-mode`
    pub experimental: bool,
    /// `set severity-output`
    pub severity: SeverityOutput,
    /// What stood behind the line's `<<`, for its last command to take. It may hold a private key.
    pub payload: Option<Zeroizing<String>>,
}

/// The peer is gone, too slow, or has said `quit`.
struct Over;

impl Connection {
    pub(super) fn new(
        orders: Rc<dyn Orders>,
        listed: Rc<str>,
        level: Level,
        timeout: Duration,
        who: Box<str>,
    ) -> Connection {
        Connection {
            orders,
            listed,
            level,
            interactive: false,
            timeout,
            who,
            expert: false,
            experimental: false,
            severity: SeverityOutput::None,
            payload: None,
        }
    }

    /// Switches a mode, or tells how it stands. HAProxy: any word but `on` is `off`.
    pub(super) fn switch(&mut self, mode: Mode, on: Option<bool>) -> String {
        let switched = match mode {
            Mode::Expert => &mut self.expert,
            Mode::Experimental => &mut self.experimental,
        };
        match on {
            Some(on) => {
                *switched = on;
                String::new()
            }
            None => format!("{} is {}\n", mode.word(), if *switched { "ON" } else { "OFF" }),
        }
    }

    /// Talks until either side has enough.
    pub(super) async fn converse(mut self, mut stream: Stream) {
        let mut input = Input::new();
        let mut chunk = vec![0; LINE_MAX_BYTES];
        loop {
            let read = match timeout(self.timeout, stream.read(&mut chunk)).await {
                Ok(Ok(read)) if read > 0 => read,
                _ => return,
            };
            input.push(chunk.get(..read).unwrap_or_default());
            match self.carry_out(&mut input, &mut stream).await {
                Ok(true) => {}
                Ok(false) | Err(Over) => break,
            }
        }
        let _ = timeout(self.timeout, stream.shutdown()).await;
        discard(&mut stream, &mut chunk, input.next() == Next::TooBig).await;
    }

    /// Every whole line that has arrived. Whether to go on.
    async fn carry_out(&mut self, input: &mut Input, stream: &mut Stream) -> Result<bool, Over> {
        let mut go_on = true;
        loop {
            match input.next() {
                Next::More => return Ok(go_on),
                Next::TooBig => {
                    self.write(format!("{}\n\n", texts::TOO_BIG), stream).await?;
                    return Ok(false);
                }
                Next::Line(line) => self.run(line, stream).await?,
            }
            go_on = self.interactive;
        }
    }

    /// The commands of one line, in order; the last one gets the payload.
    async fn run(&mut self, line: Line, stream: &mut Stream) -> Result<(), Over> {
        let mut out = String::new();
        let mut payload = line.payload.map(Zeroizing::new);
        let mut commands = commands(&line.text).into_iter().peekable();
        while let Some(words) = commands.next() {
            self.payload = if commands.peek().is_none() { payload.take() } else { None };
            let order = parse_with(&words, self.payload.as_deref().map(String::as_str));
            match answer(order, &words, self).await {
                Reply::Text(text) => out.push_str(&text),
                Reply::Close => {
                    self.write(out, stream).await?;
                    return Err(Over);
                }
            }
            out.push_str(if self.interactive { "\n> " } else { "\n" });
            if out.len() >= WRITE_BYTES {
                self.write(std::mem::take(&mut out), stream).await?;
            }
            // Other connections and the control task itself get their turn between two commands.
            tokio::task::yield_now().await;
        }
        self.payload = None;
        self.write(out, stream).await
    }

    /// A peer that takes nothing for the length of the timeout is given up.
    async fn write(&self, text: String, stream: &mut Stream) -> Result<(), Over> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match timeout(self.timeout, stream.write(rest)).await {
                Ok(Ok(written)) if written > 0 => rest = rest.get(written..).unwrap_or_default(),
                _ => return Err(Over),
            }
        }
        Ok(())
    }
}

/// Drops what has arrived; `wait` also for what is on its way. Closing a socket with unread input makes the peer see a
/// reset instead of the end of the reply.
async fn discard(stream: &mut Stream, chunk: &mut [u8], wait: bool) {
    let mut left = DISCARD_MAX_BYTES;
    let patience = tokio::time::sleep(if wait { DISCARD_TIME } else { Duration::ZERO });
    tokio::pin!(patience);
    while left > 0 {
        tokio::select! {
            biased;
            read = stream.read(chunk) => match read {
                Ok(read) if read > 0 => left = left.saturating_sub(read),
                _ => return,
            },
            () = async { if wait { patience.as_mut().await } } => return,
        }
    }
}
