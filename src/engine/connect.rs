// SPDX-License-Identifier: GPL-2.0

//! How two nodes that both dial and listen come to exactly one pair of streams (wire protocol, sections 1.2 to 1.5).
//!
//! The machine decides, its owner acts: [`Connector::start`] gives the first [`Step`], and every step is answered by its
//! [`Event`], which gives the next one, until [`Step::Established`]. The owner holds three places for sockets: the data stream, the
//! meta stream, and a *new* one that was just dialled or accepted.

/// A stream of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Opened with `P_INITIAL_DATA`.
    Data,
    /// Opened with `P_INITIAL_META`.
    Meta,
}

/// Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectTimes {
    /// Time to wait for an answer to a dial, and, give or take one seventh, for a caller (`connect-int`).
    pub attempt_ms: u32,
    /// Pause before the streams are looked at (`socket-check-timeout`, or else `ping-timeout`).
    pub check_ms: u32,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Dial the peer; the socket becomes the new one. Answer: `Dialled` or `Nothing`.
    Dial {
        /// Longest time to wait.
        timeout_ms: u32,
    },
    /// Send the first packet of this stream on the new socket and keep it as this stream. Answer: `Sent` or `Nothing`
    /// (the new socket is closed).
    SendFirst(Stream),
    /// Wait for a caller and read its first packet; its socket becomes the new one. Answer: `Called` or `Nothing`.
    Accept {
        /// Longest time to wait for a caller.
        timeout_ms: u32,
    },
    /// Pause, then find out which of the kept streams are alive and close the others. Answer: `Alive`.
    Check {
        /// How long to pause first.
        pause_ms: u32,
    },
    /// Keep the new socket as this stream; close the one that had its place. Answer: `Done`.
    Take(Stream),
    /// Close the new socket. Answer: `Done`.
    Reject,
    /// Both streams stand. There is no answer.
    Established {
        /// This node accepted the meta stream (section 1.4).
        resolve: bool,
    },
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer took the call.
    Dialled,
    /// The first packet is sent.
    Sent,
    /// Nothing came of it.
    Nothing,
    /// A caller opened this stream; `None`: its first packet was another one, or it is not the peer.
    Called(Option<Stream>),
    /// Which streams are alive; a stream that is not there is not.
    Alive {
        /// The data stream.
        data: bool,
        /// The meta stream.
        meta: bool,
    },
    /// As told.
    Done,
}

/// Where the answer to the present step leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Dialling,
    Sending(Stream),
    Accepting,
    /// After the active step (`passive` false) or after the passive one.
    Checking {
        passive: bool,
    },
    /// A caller is there: are the kept streams still alive?
    Judging(Option<Stream>),
    Taking(Stream),
    /// After a crossing, or a caller that made no sense.
    Crossed,
    Established,
}

/// The machine.
#[derive(Clone, Copy, Debug)]
pub struct Connector {
    times: ConnectTimes,
    at: At,
    data: bool,
    meta: bool,
    resolve: bool,
}

impl Connector {
    /// A machine that has no stream yet.
    pub const fn new(times: ConnectTimes) -> Self {
        Self {
            times,
            at: At::Dialling,
            data: false,
            meta: false,
            resolve: false,
        }
    }

    /// The first step.
    pub fn start(&mut self) -> Step {
        self.dial()
    }

    /// Takes the answer to a step; `coin` is a random bit. An answer that does not belong to the step counts as a failure
    /// of that step.
    pub fn next(&mut self, event: Event, coin: bool) -> Step {
        match (self.at, event) {
            (At::Dialling, Event::Dialled) => {
                let stream = if self.data {
                    Stream::Meta
                } else {
                    Stream::Data
                };
                self.at = At::Sending(stream);
                Step::SendFirst(stream)
            }
            (At::Sending(stream), Event::Sent) => {
                match stream {
                    Stream::Data => self.data = true,
                    Stream::Meta => {
                        self.meta = true;
                        self.resolve = false;
                    }
                }
                self.after_active(coin)
            }
            (At::Dialling | At::Sending(_), _) => self.after_active(coin),
            (At::Accepting, Event::Called(first)) => {
                self.at = At::Judging(first);
                Step::Check { pause_ms: 0 }
            }
            (At::Accepting, _) => self.after_passive(),
            (At::Judging(first), Event::Alive { data, meta }) => {
                self.data &= data;
                self.meta &= meta;
                match first {
                    Some(stream) => {
                        self.at = At::Taking(stream);
                        Step::Take(stream)
                    }
                    None => {
                        self.at = At::Crossed;
                        Step::Reject
                    }
                }
            }
            (At::Judging(_), _) => {
                self.at = At::Crossed;
                Step::Reject
            }
            (At::Taking(stream), _) => self.taken(stream, coin),
            (At::Crossed, _) => self.crossed(coin),
            (At::Checking { passive }, event) => {
                let (data, meta) = match event {
                    Event::Alive { data, meta } => (data, meta),
                    _ => (false, false),
                };
                self.data &= data;
                self.meta &= meta;
                match (self.data && self.meta, passive) {
                    (true, _) => {
                        self.at = At::Established;
                        Step::Established {
                            resolve: self.resolve,
                        }
                    }
                    (false, false) => self.accept(coin),
                    (false, true) => self.dial(),
                }
            }
            (At::Established, _) => Step::Established {
                resolve: self.resolve,
            },
        }
    }

    fn taken(&mut self, stream: Stream, coin: bool) -> Step {
        let place = match stream {
            Stream::Data => &mut self.data,
            Stream::Meta => {
                self.resolve = true;
                &mut self.meta
            }
        };
        if core::mem::replace(place, true) {
            self.crossed(coin)
        } else {
            self.after_passive()
        }
    }

    fn dial(&mut self) -> Step {
        self.at = At::Dialling;
        Step::Dial {
            timeout_ms: self.times.attempt_ms,
        }
    }

    fn accept(&mut self, coin: bool) -> Step {
        self.at = At::Accepting;
        let attempt = self.times.attempt_ms;
        let seventh = attempt / 7;
        let timeout_ms = match coin {
            true => attempt.saturating_add(seventh),
            false => attempt.saturating_sub(seventh),
        };
        Step::Accept { timeout_ms }
    }

    fn after_active(&mut self, coin: bool) -> Step {
        if self.data && self.meta {
            self.at = At::Checking { passive: false };
            return Step::Check {
                pause_ms: self.times.check_ms,
            };
        }
        self.accept(coin)
    }

    fn after_passive(&mut self) -> Step {
        if self.data && self.meta {
            self.at = At::Checking { passive: true };
            return Step::Check {
                pause_ms: self.times.check_ms,
            };
        }
        self.dial()
    }

    /// Step 5: both nodes must not go on in step.
    fn crossed(&mut self, coin: bool) -> Step {
        match coin {
            true => self.accept(coin),
            false => self.after_passive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: ConnectTimes = ConnectTimes {
        attempt_ms: 7000,
        check_ms: 500,
    };
    const BOTH: Event = Event::Alive {
        data: true,
        meta: true,
    };

    fn machine() -> Connector {
        let mut machine = Connector::new(TIMES);
        assert_eq!(machine.start(), Step::Dial { timeout_ms: 7000 });
        machine
    }

    #[test]
    fn the_first_to_dial_accepts_the_meta_stream() {
        let mut first = machine();
        assert_eq!(
            first.next(Event::Dialled, false),
            Step::SendFirst(Stream::Data)
        );
        assert_eq!(
            first.next(Event::Sent, false),
            Step::Accept { timeout_ms: 6000 }
        );
        assert_eq!(
            first.next(Event::Called(Some(Stream::Meta)), false),
            Step::Check { pause_ms: 0 }
        );
        assert_eq!(
            first.next(
                Event::Alive {
                    data: true,
                    meta: false
                },
                false
            ),
            Step::Take(Stream::Meta)
        );
        assert_eq!(
            first.next(Event::Done, false),
            Step::Check { pause_ms: 500 }
        );
        assert_eq!(first.next(BOTH, false), Step::Established { resolve: true });
    }

    #[test]
    fn the_second_makes_the_meta_stream() {
        let mut second = machine();
        assert_eq!(
            second.next(Event::Nothing, true),
            Step::Accept { timeout_ms: 8000 }
        );
        assert_eq!(
            second.next(Event::Called(Some(Stream::Data)), false),
            Step::Check { pause_ms: 0 }
        );
        assert_eq!(
            second.next(
                Event::Alive {
                    data: false,
                    meta: false
                },
                false
            ),
            Step::Take(Stream::Data)
        );
        assert_eq!(
            second.next(Event::Done, false),
            Step::Dial { timeout_ms: 7000 }
        );
        assert_eq!(
            second.next(Event::Dialled, false),
            Step::SendFirst(Stream::Meta)
        );
        assert_eq!(
            second.next(Event::Sent, false),
            Step::Check { pause_ms: 500 }
        );
        assert_eq!(
            second.next(BOTH, false),
            Step::Established { resolve: false }
        );
    }

    #[test]
    fn a_crossed_data_stream_replaces_the_own_one() {
        for (coin, after) in [
            (true, Step::Accept { timeout_ms: 8000 }),
            (false, Step::Dial { timeout_ms: 7000 }),
        ] {
            let mut machine = machine();
            machine.next(Event::Dialled, false);
            machine.next(Event::Sent, false);
            assert_eq!(
                machine.next(Event::Called(Some(Stream::Data)), false),
                Step::Check { pause_ms: 0 }
            );
            assert_eq!(
                machine.next(
                    Event::Alive {
                        data: true,
                        meta: false
                    },
                    false
                ),
                Step::Take(Stream::Data)
            );
            assert_eq!(machine.next(Event::Done, coin), after);
        }
    }

    #[test]
    fn a_dead_stream_is_made_anew() {
        let mut machine = machine();
        machine.next(Event::Dialled, false);
        machine.next(Event::Sent, false);
        machine.next(Event::Nothing, false);
        assert_eq!(
            machine.next(Event::Dialled, false),
            Step::SendFirst(Stream::Meta)
        );
        assert_eq!(
            machine.next(Event::Sent, false),
            Step::Check { pause_ms: 500 }
        );
        let data_died = Event::Alive {
            data: false,
            meta: true,
        };
        assert_eq!(
            machine.next(data_died, false),
            Step::Accept { timeout_ms: 6000 }
        );
        assert_eq!(
            machine.next(Event::Nothing, false),
            Step::Dial { timeout_ms: 7000 }
        );
        assert_eq!(
            machine.next(Event::Dialled, false),
            Step::SendFirst(Stream::Data)
        );
    }

    #[test]
    fn a_stranger_is_rejected() {
        let mut machine = machine();
        machine.next(Event::Nothing, false);
        machine.next(Event::Called(None), false);
        assert_eq!(
            machine.next(
                Event::Alive {
                    data: false,
                    meta: false
                },
                false
            ),
            Step::Reject
        );
        assert_eq!(
            machine.next(Event::Done, true),
            Step::Accept { timeout_ms: 8000 }
        );
    }

    #[test]
    fn a_caller_after_the_own_stream_died_is_no_crossing() {
        let mut machine = machine();
        machine.next(Event::Dialled, false);
        machine.next(Event::Sent, false);
        machine.next(Event::Called(Some(Stream::Data)), false);
        let nothing_left = Event::Alive {
            data: false,
            meta: false,
        };
        assert_eq!(machine.next(nothing_left, true), Step::Take(Stream::Data));
        assert_eq!(
            machine.next(Event::Done, true),
            Step::Dial { timeout_ms: 7000 }
        );
    }
}
