//! Asking an agent: one connection, what is to be said first, and one line back. What the line means is parsed in
//! `core::health::agent`.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{is_ours, phrase, printable};
use crate::core::health::CheckStatus;
use crate::core::health::agent::{AgentAnswer, AgentOutcome, LINE_MAX};
use crate::runtime::clock;

/// Asks the agent at `to`, within `timeout`. `send` goes first, if there is anything in it.
pub async fn ask(to: SocketAddr, send: &str, timeout: Duration) -> AgentOutcome {
    let start = clock::now();
    let connected = Cell::new(false);
    let answer = match tokio::time::timeout(timeout, attempt(to, send, &connected)).await {
        Ok(answer) => answer,
        Err(_) if connected.get() => AgentAnswer::Failed(CheckStatus::L7Timeout, "".into()),
        Err(_) => AgentAnswer::Failed(CheckStatus::L4Timeout, "".into()),
    };
    AgentOutcome { answer, duration: clock::now().saturating_duration_since(start) }
}

async fn attempt(to: SocketAddr, send: &str, connected: &Cell<bool>) -> AgentAnswer {
    let mut stream = match TcpStream::connect(to).await {
        Ok(stream) => stream,
        Err(error) => {
            let status = if is_ours(&error) { CheckStatus::SocketError } else { CheckStatus::L4Connect };
            return AgentAnswer::Failed(status, printable(&phrase(&error)));
        }
    };
    connected.set(true);
    let mut line = Vec::new();
    let exchange = async {
        stream.write_all(send.as_bytes()).await?;
        read_line(&mut stream, &mut line).await
    };
    match exchange.await {
        Ok(true) => AgentAnswer::Line(String::from_utf8_lossy(&line).into()),
        Ok(false) => AgentAnswer::Incomplete,
        Err(error) => AgentAnswer::Failed(CheckStatus::L7Response, printable(&phrase(&error))),
    }
}

/// Reads up to a line end, which is CR or LF; false when there is none.
async fn read_line(stream: &mut TcpStream, line: &mut Vec<u8>) -> std::io::Result<bool> {
    while line.len() < LINE_MAX {
        let searched = line.len();
        if stream.read_buf(line).await? == 0 {
            return Ok(false);
        }
        let end = line.iter().skip(searched).position(|byte| matches!(byte, b'\n' | b'\r'));
        if let Some(end) = end {
            line.truncate(searched + end);
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn asked(script: &'static [&'static [u8]], send: &str, hold: bool) -> (AgentAnswer, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let expected = send.len();
        let agent = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; expected];
            stream.read_exact(&mut heard).await.unwrap();
            for piece in script {
                let _ = stream.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            if hold {
                let _ = stream.read_u8().await;
            }
            heard
        });
        let timeout = if hold { Duration::from_millis(50) } else { Duration::from_secs(20) };
        let outcome = ask(to, send, timeout).await;
        (outcome.answer, agent.await.unwrap())
    }

    #[tokio::test]
    async fn a_line_is_read_to_its_end() {
        let line = |text: &str| AgentAnswer::Line(text.into());
        assert_eq!(asked(&[b"up 50%\n"], "", false).await.0, line("up 50%"));
        assert_eq!(asked(&[b"up\r\nmore"], "", false).await.0, line("up"));
        assert_eq!(asked(&[b"dr", b"ain", b"\nup\n"], "", true).await.0, line("drain"));
        assert_eq!(asked(&[b"\n"], "", false).await.0, line(""));
        let (answer, heard) = asked(&[b"ready\n"], "hello web1\n", false).await;
        assert_eq!((answer, heard.as_slice()), (line("ready"), &b"hello web1\n"[..]));
    }

    #[tokio::test]
    async fn an_answer_without_an_end_says_nothing() {
        assert_eq!(asked(&[b"up"], "", false).await.0, AgentAnswer::Incomplete);
        assert_eq!(asked(&[], "", false).await.0, AgentAnswer::Incomplete);
        assert_eq!(asked(&[&[b'x'; LINE_MAX]], "", false).await.0, AgentAnswer::Incomplete, "the limit");
    }

    #[tokio::test]
    async fn an_agent_that_is_not_there_or_silent_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        drop(listener);
        let refused = ask(to, "", Duration::from_secs(20)).await.answer;
        assert_eq!(refused, AgentAnswer::Failed(CheckStatus::L4Connect, "Connection refused".into()));
        let silent = asked(&[b"up"], "", true).await.0;
        assert_eq!(silent, AgentAnswer::Failed(CheckStatus::L7Timeout, "".into()));
    }
}
