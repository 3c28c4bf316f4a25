// SPDX-License-Identifier: GPL-2.0

//! The control socket: one line of JSON asks, lines of JSON answer. Its permissions (root only)
//! decide who may ask.

use super::process::spawn;
use crate::engine::report::Report;
use crate::engine::types::{GroupSet, Request};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// Longest question.
const QUESTION_MAX: u64 = 64 * 1024;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Question {
    /// One report.
    Status,
    /// A report now and after each change, until the asker goes.
    Watch,
    /// Give groups up.
    Standby(Selection),
    /// Take groups over.
    Takeover(Selection),
    /// Forget failures.
    Cleanup(Selection),
    /// A dead node was reset by hand.
    Confirm {
        /// The node.
        node: String,
    },
    /// A directive of `ha.cf`, as written.
    Parameter {
        /// Its name.
        name: String,
    },
    /// Read `ha.cf` and `authkeys` again.
    Reload,
    /// Give everything up and end; the answer comes at once, the end of the stream with the end.
    Stop,
}

/// Which groups a question is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// `all`, `local`, `foreign` or `failback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Key of one group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Selection {
    fn read(self) -> Result<GroupSet, String> {
        match (self.set.as_deref(), self.group) {
            (None, Some(key)) => Ok(GroupSet::One(key)),
            (None | Some("all"), None) => Ok(GroupSet::All),
            (Some("local"), None) => Ok(GroupSet::Local),
            (Some("foreign" | "failback"), None) => Ok(GroupSet::Foreign),
            (Some(_), Some(_)) => Err("either a set or a group, not both".into()),
            (Some(other), None) => Err(format!(
                "unknown set `{other}`: expected all, local, foreign or failback"
            )),
        }
    }
}

impl Question {
    /// The request to the state machine, if it is one.
    ///
    /// # Errors
    ///
    /// The text says what is wrong with the selection.
    pub fn request(self) -> Result<Option<Request>, String> {
        Ok(Some(match self {
            Self::Standby(selection) => Request::Standby(selection.read()?),
            Self::Takeover(selection) => Request::Takeover(selection.read()?),
            Self::Cleanup(selection) => Request::Cleanup(selection.read()?),
            Self::Confirm { node } => Request::ConfirmFenced(node.to_lowercase()),
            _ => return Ok(None),
        }))
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why nothing was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

impl From<Result<String, String>> for Answer {
    fn from(result: Result<String, String>) -> Self {
        match result {
            Ok(text) => Self {
                text: Some(text),
                ..Self::default()
            },
            Err(error) => Self {
                error: Some(error),
                ..Self::default()
            },
        }
    }
}

/// Opens the socket and hands every question to `ask` with the way back. A way back that is dropped
/// ends the connection.
///
/// # Errors
///
/// The socket cannot be made.
pub fn serve(
    path: &Path,
    ask: impl Fn(Question, Sender<Answer>) + Clone + Send + 'static,
) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    spawn("control", move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => {
                    let ask = ask.clone();
                    if let Err(error) = spawn("control answer", move || connection(stream, ask)) {
                        log::error!("control connection: {error}");
                    }
                }
                // Too many open files, for example: not worth a busy loop.
                Err(_) => std::thread::sleep(Duration::from_secs(1)),
            }
        }
    })
}

fn connection(stream: UnixStream, ask: impl Fn(Question, Sender<Answer>)) {
    // Who opens the socket and says nothing shall not keep a thread.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let Ok(mut out) = stream.try_clone() else {
        return;
    };
    let mut line = String::new();
    if BufReader::new(stream.take(QUESTION_MAX))
        .read_line(&mut line)
        .is_err()
    {
        return;
    }
    let (sender, answers) = channel();
    match serde_json::from_str(&line) {
        Ok(question) => ask(question, sender),
        Err(error) => {
            let _ = sender.send(Answer::from(Err(format!(
                "question not understood: {error}"
            ))));
            drop(sender);
        }
    }
    for answer in answers {
        let Ok(mut line) = serde_json::to_string(&answer) else {
            return;
        };
        line.push('\n');
        if out.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

/// Asks the daemon; the answers come as they are made. `limit` is the longest silence.
///
/// # Errors
///
/// The daemon does not run, or the asker may not ask.
pub fn ask(
    path: &Path,
    question: &Question,
    limit: Option<Duration>,
) -> io::Result<impl Iterator<Item = io::Result<Answer>> + use<>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(limit)?;
    let mut line = serde_json::to_string(question)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let lines = BufReader::new(stream).lines();
    Ok(lines.map(|line| Ok(serde_json::from_str(&line?)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_have_a_fixed_form() {
        let read = |text: &str| serde_json::from_str::<Question>(text).unwrap();
        assert_eq!(read(r#"{"command":"status"}"#), Question::Status);
        let standby = read(r#"{"command":"standby","set":"local"}"#);
        assert_eq!(
            standby.request(),
            Ok(Some(Request::Standby(GroupSet::Local)))
        );
        let standby = read(r#"{"command":"standby"}"#);
        assert_eq!(standby.request(), Ok(Some(Request::Standby(GroupSet::All))));
        let one = read(r#"{"command":"takeover","group":"drbddisk::r0"}"#);
        let one = one.request().unwrap();
        assert_eq!(
            one,
            Some(Request::Takeover(GroupSet::One("drbddisk::r0".into())))
        );
        let wrong = read(r#"{"command":"standby","set":"some"}"#)
            .request()
            .unwrap_err();
        assert!(wrong.contains("unknown set `some`"), "{wrong}");
        assert!(serde_json::from_str::<Question>(r#"{"command":"reboot"}"#).is_err());
    }

    #[test]
    fn the_socket_answers_good_and_bad_questions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control");
        serve(&path, |question, back| {
            let _ = back.send(Answer::from(Ok(format!("{question:?}"))));
        })
        .unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let answers: Vec<_> = ask(&path, &Question::Status, None).unwrap().collect();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].as_ref().unwrap().text.as_deref(), Some("Status"));
        let mut raw = UnixStream::connect(&path).unwrap();
        raw.write_all(b"nonsense\n").unwrap();
        let mut text = String::new();
        raw.read_to_string(&mut text).unwrap();
        assert!(text.contains("question not understood"), "{text}");
    }
}
