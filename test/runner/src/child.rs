//! A host in a process of its own. Requests and answers are lines of JSON on the standard streams of the process.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::host::{Host, Reply, Rows};

/// The beginning of a line with an answer. Other lines are output of DuckDB, such as a profile.
const MARK: &str = "@answer ";

/// A request to a host; see [`Host`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Open { path: String, read_only: bool },
    Connect { name: String },
    Execute { connection: String, sql: String, rows: bool },
}

/// The answer to a request.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(Rows),
    Error(String),
}

/// A host in a process of its own: `host.py`, or this program with [`serve`].
///
/// If the process dies, stays silent or answers nonsense, that is an error of the host, and the process is ended.
pub struct Child {
    process: std::process::Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    patience: Duration,
}

impl Child {
    /// Starts the process.
    ///
    /// - `patience`: how long one answer may take before the process is killed.
    pub fn start(command: &mut Command, patience: Duration) -> Result<Self> {
        // The text of timestamps must not depend on the time zone of the tests.
        command.env("TZ", "UTC").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process =
            command.spawn().with_context(|| format!("{} does not start", command.get_program().display()))?;
        let output = process.stdout.take().context("the process has no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(answer) = line.strip_prefix(MARK)
                    && sender.send(answer.to_owned()).is_err()
                {
                    break;
                }
            }
        });
        let input = process.stdin.take();
        Ok(Self { process, input, lines, patience })
    }

    fn ask(&mut self, request: &Request) -> Result<Reply> {
        let input = self.input.as_mut().context("the host process has ended")?;
        let sent = writeln!(input, "{}", serde_json::to_string(request)?).and_then(|()| input.flush());
        match sent.map(|()| self.lines.recv_timeout(self.patience)) {
            Ok(Ok(line)) => match serde_json::from_str(&line).with_context(|| format!("not an answer: {line}"))? {
                Answer::Done(rows) => Ok(Ok(rows)),
                Answer::Error(message) => Ok(Err(message)),
            },
            Ok(Err(RecvTimeoutError::Timeout)) => {
                self.end();
                bail!("the host gave no answer within {} s; its process was killed", self.patience.as_secs())
            }
            Ok(Err(RecvTimeoutError::Disconnected)) | Err(_) => Err(self.death()),
        }
    }

    /// How a process ended that has closed its streams.
    fn death(&mut self) -> anyhow::Error {
        self.input = None;
        match self.process.wait() {
            Ok(status) => anyhow!("the host process died: {status}"),
            Err(error) => anyhow!("the host process died: {error}"),
        }
    }

    fn end(&mut self) {
        self.input = None;
        // Fails only if the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Lets the process close the database and end. Errors: it crashes or hangs meanwhile.
    pub fn finish(mut self) -> Result<()> {
        self.input = None;
        match self.lines.recv_timeout(self.patience) {
            Err(RecvTimeoutError::Disconnected) => {}
            Ok(line) => bail!("the host answers without a question: {line}"),
            Err(RecvTimeoutError::Timeout) => bail!("the host does not end within {} s", self.patience.as_secs()),
        }
        let status = self.process.wait()?;
        if status.success() { Ok(()) } else { bail!("the host process died while it closed the database: {status}") }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

impl Host for Child {
    fn open(&mut self, path: &str, read_only: bool) -> Result<Reply> {
        self.ask(&Request::Open { path: path.to_owned(), read_only })
    }

    fn connect(&mut self, name: &str) -> Result<Reply> {
        self.ask(&Request::Connect { name: name.to_owned() })
    }

    fn execute(&mut self, connection: &str, sql: &str, rows: bool) -> Result<Reply> {
        self.ask(&Request::Execute { connection: connection.to_owned(), sql: sql.to_owned(), rows })
    }
}

/// Answers requests with this host until there are no more.
pub fn serve(mut host: impl Host, requests: impl BufRead, mut answers: impl Write) -> Result<()> {
    for line in requests.lines() {
        let reply = match serde_json::from_str(&line?)? {
            Request::Open { path, read_only } => host.open(&path, read_only),
            Request::Connect { name } => host.connect(&name),
            Request::Execute { connection, sql, rows } => host.execute(&connection, &sql, rows),
        };
        let answer = match reply? {
            Ok(rows) => Answer::Done(rows),
            Err(message) => Answer::Error(message),
        };
        // On a line of its own, even if DuckDB has written half a line.
        writeln!(answers, "\n{MARK}{}", serde_json::to_string(&answer)?)?;
        answers.flush()?;
    }
    Ok(())
}
