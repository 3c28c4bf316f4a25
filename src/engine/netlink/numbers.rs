// SPDX-License-Identifier: GPL-2.0

//! Numbers of the netlink family.
//!
//! Made from `Documentation/netlink/specs/rdb.yaml` by the test of the netlink crate; do not edit.

use super::UnknownNumber;

/// meta-index of internal metadata
pub const META_INDEX_INTERNAL: i32 = -3;

/// meta-index of flexible external metadata
pub const META_INDEX_FLEXIBLE: i32 = -2;

/// resync-after of a volume that waits for no other
pub const RESYNC_AFTER_NONE: i32 = -1;

enumeration! {
    /// Role of a node for a resource or volume.
    Role {
        Unknown = 0, "unknown", "unknown";
        Primary = 1, "primary", "primary";
        Secondary = 2, "secondary", "secondary";
    }
}

enumeration! {
    /// State of a connection or of the replication of a volume; the order counts.
    ConnState {
        StandAlone = 0, "stand-alone", "stand-alone";
        Disconnecting = 1, "disconnecting", "disconnecting";
        Unconnected = 2, "unconnected", "unconnected";
        Timeout = 3, "timeout", "timeout";
        BrokenPipe = 4, "broken-pipe", "broken-pipe";
        NetworkFailure = 5, "network-failure", "network-failure";
        ProtocolError = 6, "protocol-error", "protocol-error";
        TearDown = 7, "tear-down", "tear-down";
        WfConnection = 8, "wf-connection", "wf-connection";
        WfReportParams = 9, "wf-report-params", "wf-report-params";
        Connected = 10, "connected", "connected";
        StartingSyncS = 11, "starting-sync-s", "starting-sync-s";
        StartingSyncT = 12, "starting-sync-t", "starting-sync-t";
        WfBitmapS = 13, "wf-bitmap-s", "wf-bitmap-s";
        WfBitmapT = 14, "wf-bitmap-t", "wf-bitmap-t";
        WfSyncUuid = 15, "wf-sync-uuid", "wf-sync-uuid";
        SyncSource = 16, "sync-source", "sync-source";
        SyncTarget = 17, "sync-target", "sync-target";
        VerifyS = 18, "verify-s", "verify-s";
        VerifyT = 19, "verify-t", "verify-t";
        PausedSyncS = 20, "paused-sync-s", "paused-sync-s";
        PausedSyncT = 21, "paused-sync-t", "paused-sync-t";
        Ahead = 22, "ahead", "ahead";
        Behind = 23, "behind", "behind";
    }
}

enumeration! {
    /// State of a disk; the order counts.
    DiskState {
        Diskless = 0, "diskless", "diskless";
        Attaching = 1, "attaching", "attaching";
        Failed = 2, "failed", "failed";
        Negotiating = 3, "negotiating", "negotiating";
        Inconsistent = 4, "inconsistent", "inconsistent";
        Outdated = 5, "outdated", "outdated";
        DUnknown = 6, "d-unknown", "d-unknown";
        Consistent = 7, "consistent", "consistent";
        UpToDate = 8, "up-to-date", "up-to-date";
    }
}

enumeration! {
    /// When a write is done: on the way (A), received (B), on the disk (C) of the peer.
    Protocol {
        A = 1, "a", "a";
        B = 2, "b", "b";
        C = 3, "c", "c";
    }
}

enumeration! {
    /// Policies for lower I/O errors.
    OnIoError {
        PassOn = 0, "pass-on", "pass-on";
        CallLocalIoError = 1, "call-local-io-error", "call-local-io-error";
        Detach = 2, "detach", "detach";
    }
}

enumeration! {
    /// Fencing policies; the order counts.
    Fencing {
        DontCare = 0, "dont-care", "dont-care";
        ResourceOnly = 1, "resource-only", "resource-only";
        ResourceAndStonith = 2, "resource-and-stonith", "resource-and-stonith";
    }
}

enumeration! {
    /// Read balancing methods.
    ReadBalancing {
        PreferLocal = 0, "prefer-local", "prefer-local";
        PreferRemote = 1, "prefer-remote", "prefer-remote";
        RoundRobin = 2, "round-robin", "round-robin";
        LeastPending = 3, "least-pending", "least-pending";
        WhenCongestedRemote = 4, "when-congested-remote", "when-congested-remote";
        Stripe32k = 5, "stripe-32k", "stripe-32k";
        Stripe64k = 6, "stripe-64k", "stripe-64k";
        Stripe128k = 7, "stripe-128k", "stripe-128k";
        Stripe256k = 8, "stripe-256k", "stripe-256k";
        Stripe512k = 9, "stripe-512k", "stripe-512k";
        Stripe1m = 10, "stripe-1m", "stripe-1m";
    }
}

enumeration! {
    /// Split brain policies, numbered as on the wire.
    AfterSbPolicy {
        Disconnect = 0, "disconnect", "disconnect";
        DiscardYoungerPrimary = 1, "discard-younger-primary", "discard-younger-primary";
        DiscardOlderPrimary = 2, "discard-older-primary", "discard-older-primary";
        DiscardZeroChanges = 3, "discard-zero-changes", "discard-zero-changes";
        DiscardLeastChanges = 4, "discard-least-changes", "discard-least-changes";
        DiscardLocal = 5, "discard-local", "discard-local";
        DiscardRemote = 6, "discard-remote", "discard-remote";
        Consensus = 7, "consensus", "consensus";
        DiscardSecondary = 8, "discard-secondary", "discard-secondary";
        CallPriLostAfterSb = 9, "call-pri-lost-after-sb", "call-pri-lost-after-sb";
        ViolentlyAs0p = 10, "violently-as0p", "violently-as0p";
    }
}

enumeration! {
    /// Policies for a resync that contradicts the roles.
    RrConflict {
        Disconnect = 0, "disconnect", "disconnect";
        CallPriLost = 1, "call-pri-lost", "call-pri-lost";
        Violently = 2, "violently", "violently";
    }
}

enumeration! {
    /// Policies for a full send buffer.
    OnCongestion {
        Block = 0, "block", "block";
        PullAhead = 1, "pull-ahead", "pull-ahead";
        Disconnect = 2, "disconnect", "disconnect";
    }
}

enumeration! {
    /// Policies for I/O without any data.
    OnNoDataAccessible {
        IoError = 0, "io-error", "io-error";
        SuspendIo = 1, "suspend-io", "suspend-io";
    }
}

enumeration! {
    /// Ways to keep write order.
    WriteOrdering {
        None = 0, "none", "none";
        Drain = 1, "drain", "drain";
        Flush = 2, "flush", "flush";
        Barrier = 3, "barrier", "barrier";
    }
}

enumeration! {
    /// What the pace of a resync is given by.
    SyncLimit {
        Starting = 0, "starting", "nothing yet, it speeds up";
        CMaxRate = 1, "c-max-rate", "c-max-rate";
        ResyncRate = 2, "resync-rate", "resync-rate, with c-plan-ahead 0";
        Application = 3, "application", "gives way to the application, down to c-min-rate";
        Peer = 4, "peer", "the peer's disk, or the network";
        Disk = 5, "disk", "the own disk";
        SyncTarget = 6, "sync-target", "this node is the source, the target decides";
        PausedHere = 7, "paused-here", "paused-here";
        PausedByPeer = 8, "paused-by-peer", "paused-by-peer";
        ResyncAfter = 9, "resync-after", "waits for another resync";
    }
}

enumeration! {
    /// What an event tells. "exists" is used by programs that begin their stream with a
    /// dump, never by the module.
    EventKind {
        Exists = 0, "exists", "exists";
        Create = 1, "create", "create";
        Change = 2, "change", "change";
        Destroy = 3, "destroy", "destroy";
        Call = 4, "call", "call";
        Response = 5, "response", "response";
    }
}

/// Reasons for frozen application I/O.
pub mod suspend_flags {
    /// user
    pub const USER: u32 = 1 << 0;
    /// no-data
    pub const NO_DATA: u32 = 1 << 1;
    /// fencing
    pub const FENCING: u32 = 1 << 2;
}

/// Reasons for a paused resync.
pub mod pause_flags {
    /// user
    pub const USER: u32 = 1 << 0;
    /// peer
    pub const PEER: u32 = 1 << 1;
    /// dependency
    pub const DEPENDENCY: u32 = 1 << 2;
}

/// What new application I/O waits for.
pub mod blocked_flags {
    /// upper
    pub const UPPER: u32 = 1 << 0;
    /// lower
    pub const LOWER: u32 = 1 << 1;
    /// net
    pub const NET: u32 = 1 << 2;
    /// helper
    pub const HELPER: u32 = 1 << 3;
}

/// Generation flags of the metadata, numbered as on disk.
pub mod md_flags {
    /// consistent
    pub const CONSISTENT: u32 = 1 << 0;
    /// primary-ind
    pub const PRIMARY_IND: u32 = 1 << 1;
    /// connected-ind
    pub const CONNECTED_IND: u32 = 1 << 2;
    /// full-sync
    pub const FULL_SYNC: u32 = 1 << 3;
    /// was-up-to-date
    pub const WAS_UP_TO_DATE: u32 = 1 << 4;
    /// peer-out-dated
    pub const PEER_OUT_DATED: u32 = 1 << 5;
    /// crashed-primary
    pub const CRASHED_PRIMARY: u32 = 1 << 6;
    /// al-clean
    pub const AL_CLEAN: u32 = 1 << 7;
    /// al-disabled
    pub const AL_DISABLED: u32 = 1 << 8;
}

enumeration! {
    /// Numbers of refusals, at the beginning of the text of the extended acknowledgement.
    ErrorCode {
        LocalAddrInUse = 102, "local-addr-in-use", "own address is used by another resource";
        PeerAddrInUse = 103, "peer-addr-in-use", "address of the peer is used by another resource";
        OpenDisk = 104, "open-disk", "lower disk cannot be opened";
        OpenMdDisk = 105, "open-md-disk", "metadata device cannot be opened";
        DiskNotBdev = 107, "disk-not-bdev", "lower disk is not a block device";
        MdNotBdev = 108, "md-not-bdev", "metadata device is not a block device";
        DiskTooSmall = 111, "disk-too-small", "lower disk is too small";
        MdDiskTooSmall = 112, "md-disk-too-small", "metadata device is too small";
        DiskClaimed = 114, "disk-claimed", "lower disk is in use";
        MdClaimed = 115, "md-claimed", "metadata device is in use";
        MdIndexInvalid = 116, "md-index-invalid", "kind of metadata and devices do not fit";
        MdIo = 118, "md-io", "metadata cannot be read or written";
        MdInvalid = 119, "md-invalid", "no valid metadata";
        AuthAlg = 120, "auth-alg", "cram-hmac-alg is unknown to the kernel";
        AuthAlgNoDigest = 121, "auth-alg-no-digest", "cram-hmac-alg is not a digest";
        NoMemory = 122, "no-memory", "out of memory";
        DiscardImpossible = 123, "discard-impossible", "discard-my-data on a primary";
        DiskConfigured = 124, "disk-configured", "a disk is attached already";
        NetConfigured = 125, "net-configured", "connected already";
        MandatoryAttr = 126, "mandatory-attr", "attribute missing or invalid";
        MinorInvalid = 127, "minor-invalid", "no such minor";
        Interrupted = 129, "interrupted", "interrupted";
        ResizeResync = 130, "resize-resync", "no resize during a resync";
        NoPrimary = 131, "no-primary", "resize needs a primary";
        ResyncAfterInvalid = 132, "resync-after-invalid", "resync-after names no volume";
        ResyncAfterCycle = 133, "resync-after-cycle", "resync-after makes a cycle";
        PauseSet = 134, "pause-set", "already paused";
        PauseClear = 135, "pause-clear", "not paused";
        PacketNr = 137, "packet-nr", "request not known";
        NoDisk = 138, "no-disk", "no local disk";
        NotProtocolC = 139, "not-protocol-c", "needs protocol C";
        BitmapNoMemory = 140, "bitmap-no-memory", "no memory for the bitmap";
        IntegrityAlg = 141, "integrity-alg", "data-integrity-alg is unknown to the kernel";
        IntegrityAlgNoDigest = 142, "integrity-alg-no-digest", "data-integrity-alg is not a digest";
        CpuMaskParse = 143, "cpu-mask-parse", "cpu-mask cannot be understood";
        CsumsAlg = 144, "csums-alg", "csums-alg is unknown to the kernel";
        CsumsAlgNoDigest = 145, "csums-alg-no-digest", "csums-alg is not a digest";
        VerifyAlg = 146, "verify-alg", "verify-alg is unknown to the kernel";
        VerifyAlgNoDigest = 147, "verify-alg-no-digest", "verify-alg is not a digest";
        CsumsResyncRunning = 148, "csums-resync-running", "csums-alg cannot change during a resync";
        VerifyRunning = 149, "verify-running", "verify-alg cannot change during a verify";
        DataNotCurrent = 150, "data-not-current", "disk holds another data generation";
        Connected = 151, "connected", "must be StandAlone";
        Permission = 152, "permission", "needs CAP_NET_ADMIN";
        NeedApv93 = 153, "need-apv-93", "peer must speak protocol 93";
        StonithAndProtocolA = 154, "stonith-and-protocol-a", "resource-and-stonith needs protocol B or C";
        CongestionNotProtocolA = 155, "congestion-not-protocol-a", "on-congestion needs protocol A";
        PausedDependency = 156, "paused-dependency", "paused by resync-after";
        PausedPeer = 157, "paused-peer", "paused by the peer";
        ResourceNotKnown = 158, "resource-not-known", "no such resource";
        ResourceInUse = 159, "resource-in-use", "resource is in use";
        MinorConfigured = 160, "minor-configured", "volume is configured";
        MinorOrVolumeExists = 161, "minor-or-volume-exists", "minor or volume exists";
        InvalidRequest = 162, "invalid-request", "not possible in this state";
        NeedApv100 = 163, "need-apv-100", "peer must speak protocol 100";
        NeedAllowTwoPrimaries = 164, "need-allow-two-primaries", "both nodes are primary";
        MdUnclean = 165, "md-unclean", "metadata is unclean";
        MdLayoutConnected = 166, "md-layout-connected", "activity log layout can change only while connected";
        MdLayoutTooBig = 167, "md-layout-too-big", "activity log is too big";
        MdLayoutTooSmall = 168, "md-layout-too-small", "activity log is too small";
        MdLayoutNoFit = 169, "md-layout-no-fit", "activity log does not fit";
        ImplicitShrink = 170, "implicit-shrink", "size would shrink";
    }
}

/// Numbers of the commands.
pub mod cmd {
    /// Make a resource. An existing one of that name is success and is not changed.
    pub const RESOURCE_ADD: u8 = 1;
    /// Change resource options at run time.
    pub const RESOURCE_SET: u8 = 2;
    /// Delete a resource that has no volumes and is StandAlone; else refused with 159.
    pub const RESOURCE_DEL: u8 = 3;
    /// Make a volume and its block device, Diskless. The same volume with the same
    /// minor is success; else refused with 161.
    pub const VOLUME_ADD: u8 = 4;
    /// Delete a Diskless, unopened volume; else refused with 160.
    pub const VOLUME_DEL: u8 = 5;
    /// Attach the lower disk. Returns when the disk state is known. Disk options that
    /// are absent have their defaults.
    pub const ATTACH: u8 = 6;
    /// Detach the lower disk. Returns when it is Diskless; already Diskless is success.
    /// With force, pending local requests fail at once.
    pub const DETACH: u8 = 7;
    /// Change disk options at run time.
    pub const DISK_SET: u8 = 8;
    /// Give a resource its connection and start to connect. Returns at once. Net
    /// options that are absent have their defaults.
    pub const CONNECT: u8 = 9;
    /// End the connection. Returns when it is StandAlone and forgotten; no connection
    /// is success. With force the peer is not asked.
    pub const DISCONNECT: u8 = 10;
    /// Change net options at run time.
    pub const NET_SET: u8 = 11;
    /// Take a resource down whole: demote, disconnect, detach, delete its volumes and
    /// itself. Refused with state code -12 while a volume is open. An unknown resource
    /// is success.
    pub const DOWN: u8 = 12;
    /// Make a volume primary. With force the own data becomes UpToDate whatever it was.
    pub const PRIMARY: u8 = 13;
    /// Make a volume secondary. Refused with state code -12 while it is open.
    pub const SECONDARY: u8 = 14;
    /// Drop the own data and fetch all of it from the peer.
    pub const INVALIDATE: u8 = 15;
    /// Drop the data of the peer and send it all of ours.
    pub const INVALIDATE_REMOTE: u8 = 16;
    /// Pause the resync of a volume.
    pub const PAUSE_SYNC: u8 = 17;
    /// Let the resync of a volume go on.
    pub const RESUME_SYNC: u8 = 18;
    /// Freeze application I/O of a volume.
    pub const SUSPEND_IO: u8 = 19;
    /// Let application I/O of a volume go on.
    pub const RESUME_IO: u8 = 20;
    /// Mark the own data as outdated.
    pub const OUTDATE: u8 = 21;
    /// Begin a new data generation; with clear-bitmap on two fresh, connected nodes
    /// both become UpToDate at once.
    pub const NEW_CURRENT_UUID: u8 = 22;
    /// Compare the data of both nodes.
    pub const VERIFY: u8 = 23;
    /// Take up a new size. Without size: as large as possible.
    pub const RESIZE: u8 = 24;
    /// Read a resource and its connection; the dump has one message per resource, in
    /// the order of their names. Addresses and net options are present while a
    /// connection is configured, also a StandAlone one that is remembered.
    pub const RESOURCE_GET: u8 = 30;
    /// Read a volume; the dump has one message per volume, by minor number. lower-disk
    /// to meta-index, disk options, UUIDs and device-flags are present while a disk is
    /// attached, sync-* while a resync or verify is active or paused.
    pub const VOLUME_GET: u8 = 31;
    /// Read versions of the module.
    pub const MODULE_GET: u8 = 32;
    /// A resource was made, changed or destroyed.
    pub const RESOURCE_EVENT: u8 = 40;
    /// The connection of a resource was configured (create), changed or forgotten
    /// (destroy).
    pub const CONNECTION_EVENT: u8 = 41;
    /// A volume was made, changed or destroyed. Carries the whole new state, and an
    /// old-* attribute for each state that changed.
    pub const VOLUME_EVENT: u8 = 42;
    /// Progress of a resync or verify, about once a second while it runs.
    pub const SYNC_EVENT: u8 = 43;
    /// A handler is called (event-kind call) or has ended (response).
    pub const HELPER_EVENT: u8 = 44;
}

/// Numbers of the attributes.
pub mod attr {
    /// Padding in front of 64-bit values; carries nothing.
    pub const PAD: u16 = 1;
    /// Name of the resource.
    pub const RESOURCE_NAME: u16 = 2;
    /// Volume number inside its resource.
    pub const VOLUME: u16 = 3;
    /// Minor number of the block device; the device is /dev/rdb<minor>.
    pub const MINOR: u16 = 4;
    /// Do it although data or cleanliness may suffer; see the operation.
    pub const FORCE: u16 = 5;
    /// Options that the request does not carry go back to their defaults; without
    /// it they stay.
    pub const SET_DEFAULTS: u16 = 6;
    /// One line for the administrator, in replies and events. A refused request may
    /// be answered with messages that carry this before the error itself.
    pub const INFO_TEXT: u16 = 7;
    /// What happened to the object.
    pub const EVENT_KIND: u16 = 8;
    /// Counts all events of the family; a gap means that events were lost.
    pub const EVENT_SEQ: u16 = 9;
    /// Why the state changed, in words, as in the kernel log.
    pub const REASON: u16 = 10;
    /// Version of the module.
    pub const MODULE_VERSION: u16 = 11;
    /// Version of this family as the module implements it.
    pub const API_VERSION: u16 = 12;
    /// Lowest wire protocol version spoken.
    pub const PROTOCOL_MIN: u16 = 13;
    /// Highest wire protocol version spoken.
    pub const PROTOCOL_MAX: u16 = 14;
    /// Wire feature flags offered to a peer.
    pub const FEATURE_FLAGS: u16 = 15;
    /// connect: after a split brain this node gives up its changes.
    pub const DISCARD_MY_DATA: u16 = 20;
    /// connect: find out what a resync would do, log it, and disconnect.
    pub const TENTATIVE: u16 = 21;
    /// new-current-uuid: also forget which blocks differ, so that no initial sync
    /// is made.
    pub const CLEAR_BITMAP: u16 = 22;
    /// resize: new space is equal on both nodes, do not resync it.
    pub const ASSUME_CLEAN: u16 = 23;
    /// resize: the disconnected peer has grown its disk, too.
    pub const ASSUME_PEER_HAS_SPACE: u16 = 24;
    /// verify: first sector.
    pub const START_SECTOR: u16 = 25;
    /// verify: sector to stop in front of.
    pub const STOP_SECTOR: u16 = 26;
    /// IP address of the local end in network byte order: 4 bytes IPv4, 16 bytes
    /// IPv6.
    pub const LOCAL_ADDR: u16 = 30;
    /// TCP port of the local end, host byte order, 1 to 65535.
    pub const LOCAL_PORT: u16 = 31;
    /// IPv6 scope (interface index) of the local address, 0 or absent for none.
    pub const LOCAL_SCOPE: u16 = 32;
    /// IP address of the peer end in network byte order: 4 bytes IPv4, 16 bytes
    /// IPv6.
    pub const PEER_ADDR: u16 = 33;
    /// TCP port of the peer end, host byte order, 1 to 65535.
    pub const PEER_PORT: u16 = 34;
    /// IPv6 scope (interface index) of the peer address, 0 or absent for none.
    pub const PEER_SCOPE: u16 = 35;
    /// Path of the lower block device that holds the data.
    pub const LOWER_DISK: u16 = 40;
    /// Path of the block device that holds the metadata; equal to lower-disk for
    /// internal metadata.
    pub const META_DISK: u16 = 41;
    /// Kind and place of the metadata: -3 internal, -2 flexible external, 0 and up
    /// the slot of 128 MiB on meta-disk.
    pub const META_INDEX: u16 = 42;
    /// Upper bound of the exported size in sectors of 512 bytes, 0 for none.
    pub const SIZE: u16 = 50;
    /// What a lower I/O error leads to.
    pub const ON_IO_ERROR: u16 = 51;
    /// How to keep a cut-off peer from going primary.
    pub const FENCING: u16 = 52;
    /// Switch: use barrier requests (accepted, without effect).
    pub const DISK_BARRIER: u16 = 53;
    /// Switch: flush the disk between epochs.
    pub const DISK_FLUSHES: u16 = 54;
    /// Switch: let requests drain between epochs.
    pub const DISK_DRAIN: u16 = 55;
    /// Switch: write metadata with flush and FUA.
    pub const MD_FLUSHES: u16 = 56;
    /// Resync speed in KiB/s, start value of the controller.
    pub const RESYNC_RATE: u16 = 57;
    /// Minor number after whose resync this volume may resync, -1 for none.
    pub const RESYNC_AFTER: u16 = 58;
    /// Size of the activity log in extents of 4 MiB.
    pub const AL_EXTENTS: u16 = 59;
    /// Switch: write the activity log.
    pub const AL_UPDATES: u16 = 60;
    /// Resync controller: horizon in 0.1 s, 0 switches it off.
    pub const C_PLAN_AHEAD: u16 = 61;
    /// Resync controller: data in flight to aim for, in sectors.
    pub const C_FILL_TARGET: u16 = 62;
    /// Resync controller: delay to aim for, in 0.1 s.
    pub const C_DELAY_TARGET: u16 = 63;
    /// Resync controller: upper bound in KiB/s.
    pub const C_MAX_RATE: u16 = 64;
    /// Resync speed in KiB/s while applications use the disk.
    pub const C_MIN_RATE: u16 = 65;
    /// Lower disk slower than this many 0.1 s counts as failed, 0 for off.
    pub const DISK_TIMEOUT: u16 = 66;
    /// Where reads go.
    pub const READ_BALANCING: u16 = 67;
    /// Switch: aligned discards count as zeroing.
    pub const DISCARD_ZEROES_IF_ALIGNED: u16 = 68;
    /// Switch: accepted, without effect.
    pub const DISABLE_WRITE_SAME: u16 = 69;
    /// Bytes; resync turns zero blocks of this size into discards, 0 for off.
    pub const RS_DISCARD_GRANULARITY: u16 = 70;
    /// When a write is done.
    pub const PROTOCOL: u16 = 80;
    /// Answer time of the peer in 0.1 s.
    pub const TIMEOUT: u16 = 81;
    /// Pause between connection attempts in s.
    pub const CONNECT_INT: u16 = 82;
    /// Idle time before a keep-alive in s.
    pub const PING_INT: u16 = 83;
    /// Answer time for a keep-alive in 0.1 s.
    pub const PING_TIMEOUT: u16 = 84;
    /// Receive and resync buffer pages of 4 KiB.
    pub const MAX_BUFFERS: u16 = 85;
    /// Most writes between two barriers.
    pub const MAX_EPOCH_SIZE: u16 = 86;
    /// TCP send buffer in bytes, 0 for automatic.
    pub const SNDBUF_SIZE: u16 = 87;
    /// TCP receive buffer in bytes, 0 for automatic.
    pub const RCVBUF_SIZE: u16 = 88;
    /// A request older than this times timeout drops the peer, 0 for off.
    pub const KO_COUNT: u16 = 89;
    /// Switch: both nodes may be primary.
    pub const ALLOW_TWO_PRIMARIES: u16 = 90;
    /// Digest for peer authentication, empty for none.
    pub const CRAM_HMAC_ALG: u16 = 91;
    /// Secret for peer authentication. Never in events; a reply carries it only for
    /// a requester with CAP_NET_ADMIN, or not at all.
    pub const SHARED_SECRET: u16 = 92;
    /// Digest over each data block on the wire, empty for none.
    pub const DATA_INTEGRITY_ALG: u16 = 93;
    /// Digest for online verify, empty for none.
    pub const VERIFY_ALG: u16 = 94;
    /// Digest for checksum based resync, empty for none.
    pub const CSUMS_ALG: u16 = 95;
    /// Switch: use csums-alg only after a primary crash.
    pub const CSUMS_AFTER_CRASH_ONLY: u16 = 96;
    /// Switch: compress the bitmap exchange.
    pub const USE_RLE: u16 = 97;
    /// Switch: delay small packets.
    pub const TCP_CORK: u16 = 98;
    /// Split brain without a primary.
    pub const AFTER_SB_0PRI: u16 = 99;
    /// Split brain with one primary.
    pub const AFTER_SB_1PRI: u16 = 100;
    /// Split brain with two primaries.
    pub const AFTER_SB_2PRI: u16 = 101;
    /// Switch: apply these policies to unrelated-looking data, too.
    pub const ALWAYS_ASBP: u16 = 102;
    /// Handshake result and roles contradict.
    pub const RR_CONFLICT: u16 = 103;
    /// The send buffer is full.
    pub const ON_CONGESTION: u16 = 104;
    /// Sectors in flight that count as congestion, 0 for off.
    pub const CONGESTION_FILL: u16 = 105;
    /// Active extents that count as congestion.
    pub const CONGESTION_EXTENTS: u16 = 106;
    /// Time in 0.1 s for a new connection to prove stable, 0 for ping-timeout.
    pub const SOCKET_CHECK_TIMEOUT: u16 = 107;
    /// CPUs of the worker threads as a hex mask, empty for all.
    pub const CPU_MASK: u16 = 115;
    /// Neither local nor remote data can be reached.
    pub const ON_NO_DATA_ACCESSIBLE: u16 = 116;
    /// Own role. Of a resource: Primary if any volume is.
    pub const ROLE: u16 = 125;
    /// role before the change.
    pub const OLD_ROLE: u16 = 126;
    /// Role of the peer.
    pub const PEER_ROLE: u16 = 127;
    /// peer-role before the change.
    pub const OLD_PEER_ROLE: u16 = 128;
    /// State of the connection: StandAlone to WFReportParams, where WFReportParams
    /// means that the link is up.
    pub const CONNECTION_STATE: u16 = 129;
    /// connection-state before the change.
    pub const OLD_CONNECTION_STATE: u16 = 130;
    /// State of the volume: as connection-state while not connected, else Connected
    /// and above.
    pub const REPLICATION_STATE: u16 = 131;
    /// replication-state before the change.
    pub const OLD_REPLICATION_STATE: u16 = 132;
    /// State of the own disk.
    pub const DISK_STATE: u16 = 133;
    /// disk-state before the change.
    pub const OLD_DISK_STATE: u16 = 134;
    /// State of the disk of the peer.
    pub const PEER_DISK_STATE: u16 = 135;
    /// peer-disk-state before the change.
    pub const OLD_PEER_DISK_STATE: u16 = 136;
    /// Why application I/O is frozen, 0 when it runs.
    pub const SUSPENDED: u16 = 137;
    /// suspended before the change.
    pub const OLD_SUSPENDED: u16 = 138;
    /// Why the resync is paused, 0 when it is not.
    pub const SYNC_PAUSED: u16 = 139;
    /// sync-paused before the change.
    pub const OLD_SYNC_PAUSED: u16 = 140;
    /// How write order is kept on the lower disks.
    pub const WRITE_ORDERING: u16 = 141;
    /// Wire protocol version agreed with the peer, absent or 0 while not connected.
    pub const AGREED_PROTOCOL: u16 = 142;
    /// Switch: the send buffer is full.
    pub const CONGESTED: u16 = 143;
    /// Bytes of application data on the way to the peer.
    pub const AP_IN_FLIGHT: u16 = 144;
    /// Bytes of resync data on the way to the peer.
    pub const RS_IN_FLIGHT: u16 = 145;
    /// Exported size in sectors of 512 bytes.
    pub const CAPACITY: u16 = 150;
    /// How often the block device is open now.
    pub const OPEN_COUNT: u16 = 151;
    /// Generation flags as on disk.
    pub const DEVICE_FLAGS: u16 = 152;
    /// Data generation: current.
    pub const CURRENT_UUID: u16 = 153;
    /// Data generation: base of the bitmap.
    pub const BITMAP_UUID: u16 = 154;
    /// Data generation: younger history.
    pub const HISTORY_UUID_0: u16 = 155;
    /// Data generation: older history.
    pub const HISTORY_UUID_1: u16 = 156;
    /// Why new application I/O waits.
    pub const UPPER_BLOCKED: u16 = 157;
    /// Switch: the activity log is not being written.
    pub const AL_SUSPENDED: u16 = 158;
    /// Switch: this node was primary and alone before it went down;
    /// degr-wfc-timeout applies.
    pub const DEGRADED_BEFORE: u16 = 159;
    /// Sent to the peer, KiB (ns).
    pub const SENT: u16 = 165;
    /// Received from the peer, KiB (nr).
    pub const RECEIVED: u16 = 166;
    /// Written to the lower disk, KiB (dw).
    pub const DISK_WRITTEN: u16 = 167;
    /// Read from the lower disk, KiB (dr).
    pub const DISK_READ: u16 = 168;
    /// Activity log transactions (al).
    pub const AL_WRITES: u16 = 169;
    /// Bitmap updates (bm).
    pub const BM_WRITES: u16 = 170;
    /// Requests open on the lower disk (lo).
    pub const LOCAL_PENDING: u16 = 171;
    /// Requests at the peer without answer (pe).
    pub const PEER_PENDING: u16 = 172;
    /// Requests of the peer that wait for our answer (ua).
    pub const UNACKED: u16 = 173;
    /// Requests accepted from above and not completed (ap).
    pub const UPPER_PENDING: u16 = 174;
    /// Open write epochs (ep).
    pub const EPOCHS: u16 = 175;
    /// Out of sync, KiB (oos).
    pub const OUT_OF_SYNC: u16 = 176;
    /// Blocks of 4 KiB that the run began with.
    pub const SYNC_TOTAL: u16 = 180;
    /// Blocks of 4 KiB still to do.
    pub const SYNC_LEFT: u16 = 181;
    /// Blocks of 4 KiB that failed.
    pub const SYNC_FAILED: u16 = 182;
    /// Speed of late, KiB/s.
    pub const SYNC_RATE: u16 = 183;
    /// Speed since the start, KiB/s.
    pub const SYNC_AVERAGE: u16 = 184;
    /// Speed the controller asks for, KiB/s.
    pub const SYNC_WANT: u16 = 185;
    /// Seconds to the end at the present speed; absent when it cannot be told
    /// (stalled).
    pub const SYNC_ETA: u16 = 186;
    /// verify: next sector to be compared.
    pub const VERIFY_POSITION: u16 = 187;
    /// What the pace of the resync is given by.
    pub const SYNC_LIMIT: u16 = 188;
    /// Name of the handler.
    pub const HELPER: u16 = 190;
    /// Exit code of the handler.
    pub const HELPER_STATUS: u16 = 191;
    /// The highest number.
    pub const MAX: u16 = 191;
}
