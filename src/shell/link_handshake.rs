// SPDX-License-Identifier: GPL-2.0

//! What two nodes say before anything else: versions, features, and who they are (wire protocol, sections 3.2 to 3.5).

use core::fmt;

use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use rdb_engine::link::{LinkFailure, LinkTerms};
use rdb_engine::wire::{
    Agreed, Command, ConnectionFeatures, Features, Frame, Header, HeaderFormat, Packet,
    Socket as Stream, WireError, CHALLENGE_LEN, MAX_DIGEST_LEN,
};
use rdb_kapi::crypto::{equal_ct, random_bytes, Hash};
use rdb_kapi::net::{NetError, Socket};

use super::failure::Failure;
use super::link::{failure_of, End, LinkConfig, Why};
use super::log::say;
use super::resource::Resource;

/// Longest packet of the handshake: header and body.
const LONGEST: usize = 16 + 128;

/// What this node can do. P_RS_THIN_REQ is not among it.
const OWN_FEATURES: Features = Features::TRIM
    .union(Features::WSAME)
    .union(Features::WZEROES);

/// How the nodes prove to each other that they know the shared secret.
#[derive(Clone)]
pub(crate) struct Auth {
    hmac: Arc<Hash>,
}

impl Auth {
    /// Prepares the hash. Sleeps.
    ///
    /// # Errors
    ///
    /// 120: unknown algorithm; 121: not a digest; 126: no secret.
    pub(crate) fn new(algorithm: &str, secret: &str) -> Result<Self, Failure> {
        if secret.is_empty() {
            return Err(Failure::new(
                126,
                format_args!("cram-hmac-alg needs a shared-secret"),
            ));
        }
        let unknown =
            |error: Error| Failure::new(120, format_args!("cram-hmac-alg {algorithm}: {error:?}"));
        let name = CString::try_from_fmt(fmt!("hmac({algorithm})")).map_err(unknown)?;
        let hmac = Hash::keyed(&name, secret.as_bytes()).map_err(unknown)?;
        if hmac.size() > MAX_DIGEST_LEN {
            return Err(Failure::new(
                121,
                format_args!("cram-hmac-alg {algorithm}: the digest is too long"),
            ));
        }
        let hmac = Arc::new(hmac, GFP_KERNEL).map_err(|error| unknown(error.into()))?;
        Ok(Self { hmac })
    }
}

/// The peer is talked to on the data stream, a packet at a time.
struct Talk<'a> {
    name: &'a str,
    socket: &'a Socket,
    agreed: Agreed,
    format: HeaderFormat,
    bytes: [u8; LONGEST],
}

/// Agrees on versions and features, and authenticates. Sleeps.
pub(crate) fn agree(
    resource: &Resource,
    config: &LinkConfig,
    socket: &Socket,
    resolve: bool,
) -> Result<LinkTerms, End> {
    socket.set_recv_timeout(config.handshake_ms());
    socket.set_send_timeout(config.handshake_ms());
    let name = resource.name();
    let bytes = [0; LONGEST];
    let mut talk = Talk {
        name,
        socket,
        agreed: Agreed::NOTHING,
        format: HeaderFormat::P80,
        bytes,
    };
    talk.features()?;
    if let Some(auth) = &config.auth {
        talk.authenticate(auth)?;
    }
    Ok(LinkTerms {
        agreed: talk.agreed,
        resolve,
    })
}

impl Talk<'_> {
    fn features(&mut self) -> Result<(), End> {
        let own = ConnectionFeatures::own(OWN_FEATURES);
        self.send(&Packet::ConnectionFeatures(own))?;
        let frame = self.receive()?;
        self.expect(
            &frame,
            Command::ConnectionFeatures,
            "version handshake",
            false,
        )?;
        let peer = match frame.decode(self.body(&frame), &self.agreed) {
            Ok(Packet::ConnectionFeatures(peer)) => peer,
            Ok(_) => return Err(self.broke(format_args!("version handshake: unexpected packet"))),
            Err(error) => return Err(self.broke(format_args!("version handshake: {error}"))),
        };
        self.agreed = match own.agree(&peer) {
            Ok(agreed) => agreed,
            Err(error) => return Err(self.refuse(format_args!("incompatible versions: {error}"))),
        };
        self.format = self.agreed.header_format();
        say!(pr_info: "{}: handshake successful: protocol version {}", self.name, self.agreed.version);
        Ok(())
    }

    fn authenticate(&mut self, auth: &Auth) -> Result<(), End> {
        let size = auth.hmac.size();
        self.agreed.auth_digest_len = u8::try_from(size).unwrap_or(0);
        let mut own = [0; CHALLENGE_LEN];
        random_bytes(&mut own);
        self.send(&Packet::AuthChallenge(&own))?;
        let frame = self.receive()?;
        self.expect(&frame, Command::AuthChallenge, "authentication", true)?;
        let challenge = self.body(&frame);
        // The peer must not have us answer our own challenge.
        if challenge
            .get(..CHALLENGE_LEN)
            .is_some_and(|theirs| equal_ct(theirs, &own))
        {
            return Err(self.refuse(format_args!(
                "authentication: the peer sent back our own challenge"
            )));
        }
        let mut digest = [0; MAX_DIGEST_LEN];
        let answer = digest.get_mut(..size).unwrap_or_default();
        self.hash(auth, challenge, answer)?;
        self.send(&Packet::AuthResponse(answer))?;
        self.hash(auth, &own, answer)?;
        let frame = self.receive()?;
        self.expect(&frame, Command::AuthResponse, "authentication", false)?;
        if !equal_ct(self.body(&frame), answer) {
            return Err(self.refuse(format_args!(
                "authentication of the peer failed: the shared secrets differ"
            )));
        }
        say!(pr_info: "{}: peer authenticated", self.name);
        Ok(())
    }

    fn hash(&self, auth: &Auth, message: &[u8], out: &mut [u8]) -> Result<(), End> {
        auth.hmac.digest(&[message], out).map_err(|error| {
            say!(pr_warn: "{}: authentication: hash failed: {:?}", self.name, error);
            End::Lost(LinkFailure::NetworkFailure)
        })
    }

    fn send(&self, packet: &Packet<'_>) -> Result<(), End> {
        let mut bytes = [0; LONGEST];
        let len = packet
            .encode(self.format, 0, &mut bytes)
            .map_err(|error| self.undecodable(&error))?;
        let bytes = bytes.get(..len).unwrap_or_default();
        self.socket
            .send_all(bytes, false, &mut |_| false)
            .map_err(|error| self.broken("send", error))
    }

    /// Receives a packet; its body is in `self.bytes`.
    fn receive(&mut self) -> Result<Frame, End> {
        let len = self.format.len();
        let header = self.bytes.get_mut(..len).unwrap_or_default();
        let received = self.socket.recv_exact(header, &mut |_| false);
        received.map_err(|error| self.broken("receive", error))?;
        let header = self.bytes.get(..len).unwrap_or_default();
        let frame = Header::decode(self.format, header)
            .and_then(|header| header.frame(Stream::Data, &self.agreed))
            .map_err(|error| self.undecodable(&error))?;
        if frame.payload_len > 0 || frame.body_len > self.bytes.len() {
            return Err(self.broke(format_args!(
                "handshake: unexpected {}",
                frame.command.name()
            )));
        }
        let body = self.bytes.get_mut(..frame.body_len).unwrap_or_default();
        let received = self.socket.recv_exact(body, &mut |_| false);
        received.map_err(|error| self.broken("receive", error))?;
        Ok(frame)
    }

    fn body(&self, frame: &Frame) -> &[u8] {
        self.bytes.get(..frame.body_len).unwrap_or_default()
    }

    fn expect(&self, frame: &Frame, command: Command, what: &str, fatal: bool) -> Result<(), End> {
        if frame.command == command {
            return Ok(());
        }
        let (found, wanted) = (frame.command.name(), command.name());
        say!(pr_warn: "{}: {}: {} received, expected {}", self.name, what, found, wanted);
        Err(if fatal {
            End::Refused
        } else {
            End::Lost(LinkFailure::ProtocolError)
        })
    }

    /// The peer broke the protocol: the next attempt may meet a better one (wire protocol, section 10.3).
    fn broke(&self, what: fmt::Arguments<'_>) -> End {
        say!(pr_warn: "{}: {}", self.name, what);
        End::Lost(LinkFailure::ProtocolError)
    }

    /// The nodes do not fit together, whoever tries again.
    fn refuse(&self, what: fmt::Arguments<'_>) -> End {
        say!(pr_err: "{}: {}", self.name, what);
        End::Refused
    }

    fn undecodable(&self, error: &WireError) -> End {
        say!(pr_warn: "{}: handshake: {}", self.name, error);
        End::Lost(LinkFailure::ProtocolError)
    }

    fn broken(&self, what: &str, error: NetError) -> End {
        say!(pr_warn: "{}: handshake: {} {}", self.name, what, Why(error));
        End::Lost(failure_of(error))
    }
}
