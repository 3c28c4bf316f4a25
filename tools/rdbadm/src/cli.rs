// SPDX-License-Identifier: GPL-2.0

//! The command line (admin-tool.md, sections 2 and 3).

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::table::{DiskArgs, NetArgs, ResourceArgs};

/// Administers rdb: block devices that are the same on two machines.
#[derive(Parser, Debug)]
#[command(
    name = "rdbadm",
    disable_version_flag = true,
    subcommand_required = false,
    max_term_width = 100,
    after_help = "Resources are named by name, name/volume, minor-N or device; 'all' means all of this host.\nFirst steps: create-md, up, and on one of two new nodes primary --force. See rdbadm(8), rdb.conf(5)."
)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub general: General,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of all commands.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "General options")]
pub struct General {
    /// Print the low-level calls and run nothing; twice: also check own addresses
    #[arg(short = 'd', long, global = true, action = ArgAction::Count)]
    pub dry_run: u8,
    /// Print the low-level calls and run them; with status: show more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Read this file instead of /etc/rdb.conf; - is standard input
    #[arg(short, long = "config-file", value_name = "FILE", global = true)]
    pub config: Option<String>,
    /// Check this file, too (only with dump and sh-nop)
    #[arg(short = 't', long, value_name = "FILE", global = true)]
    pub config_to_test: Option<String>,
    /// Choose the peer when a resource has more than two hosts
    #[arg(short = 'P', long, value_name = "HOST", global = true)]
    pub peer: Option<String>,
    /// Stacked resources (not supported)
    #[arg(short = 'S', long, global = true, hide = true)]
    pub stacked: bool,
    /// Print the resource name as a shell variable before each call
    #[arg(short = 'n', long, value_name = "NAME", global = true, hide = true)]
    pub sh_varname: Option<String>,
    /// Path of a helper program (ignored: there is none)
    #[arg(short = 's', long, value_name = "PATH", global = true, hide = true)]
    pub drbdsetup: Option<PathBuf>,
    /// Path of a helper program (ignored: there is none)
    #[arg(short = 'm', long, value_name = "PATH", global = true, hide = true)]
    pub drbdmeta: Option<PathBuf>,
    /// Path of a helper program (ignored: there is none)
    #[arg(short = 'p', long, value_name = "PATH", global = true, hide = true)]
    pub drbd_proxy_ctl: Option<PathBuf>,
    /// Print versions as shell assignments
    #[arg(short = 'V', long)]
    pub version: bool,
}

/// Resources and volumes.
#[derive(Args, Clone, Debug, Default)]
pub struct Names {
    /// Resource, resource/volume, minor-N, device, or all
    #[arg(value_name = "RESOURCE")]
    pub names: Vec<String>,
}

/// When to use colour.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Options of create-md.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// Answer every question with yes
    #[arg(long, short = 'f')]
    pub force: bool,
    /// Go on where a check says no, unless data would surely be lost
    #[arg(long)]
    pub ignore_sanity_checks: bool,
    /// Stripes of the activity log
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub al_stripes: u32,
    /// Size of a stripe in KiB
    #[arg(long = "al-stripe-size-kB", value_name = "KIB", default_value_t = 32)]
    pub al_stripe_size: u32,
    /// Largest request that the peer takes, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub peer_max_bio_size: u32,
    /// Resource, resource/volume, minor-N, device, or all
    #[arg(value_name = "RESOURCE")]
    pub names: Vec<String>,
}

/// Commands.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Bring a resource up: create it, attach its disks, connect
    Up {
        /// Make missing metadata without asking, on disks that are empty
        #[arg(long, alias = "create-md-if-missing")]
        create_md: bool,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Take a resource down whole
    Down(Names),
    /// Make what runs equal to the configuration
    Adjust(Names),
    /// Attach the lower disk
    Attach {
        /// Options of the section.
        #[command(flatten)]
        options: DiskArgs,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Detach the lower disk
    Detach {
        /// Do not wait for requests that are on the way to the disk
        #[arg(long)]
        force: bool,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Connect to the peer
    Connect {
        /// After a split brain, give up the changes of this node
        #[arg(long)]
        discard_my_data: bool,
        /// Only find out what a resync would do; see the kernel log
        #[arg(long)]
        tentative: bool,
        /// Options of the section.
        #[command(flatten)]
        options: NetArgs,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Disconnect from the peer
    Disconnect {
        /// Do not ask the peer
        #[arg(long)]
        force: bool,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Make this node primary: the device can be used here
    Primary {
        /// Declare the data of this node good, whatever it is; the peer's are overwritten
        #[arg(long, alias = "overwrite-data-of-peer")]
        force: bool,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Make this node secondary
    Secondary(Names),
    /// Change disk options now
    DiskOptions {
        /// Options that are not given go back to their defaults
        #[arg(long)]
        set_defaults: bool,
        /// Options of the section.
        #[command(flatten)]
        options: DiskArgs,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Change net options now
    NetOptions {
        /// Options that are not given go back to their defaults
        #[arg(long)]
        set_defaults: bool,
        /// Options of the section.
        #[command(flatten)]
        options: NetArgs,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Change resource options now
    ResourceOptions {
        /// Options that are not given go back to their defaults
        #[arg(long)]
        set_defaults: bool,
        /// Options of the section.
        #[command(flatten)]
        options: ResourceArgs,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Drop the data of this node and fetch all from the peer
    Invalidate(Names),
    /// Drop the data of the peer and send it all
    InvalidateRemote(Names),
    /// Mark the data of this node as outdated
    Outdate(Names),
    /// Take up a new size
    Resize {
        /// The new size, with a unit: K, M, G or s (sectors)
        #[arg(long)]
        size: Option<String>,
        /// The disconnected peer has grown its disk as well
        #[arg(long)]
        assume_peer_has_space: bool,
        /// New space is equal on both nodes
        #[arg(long)]
        assume_clean: bool,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Compare the data of both nodes
    Verify {
        /// Sector to start at, or a size with a unit
        #[arg(long)]
        start: Option<String>,
        /// Sector to stop at, or a size with a unit
        #[arg(long)]
        stop: Option<String>,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Pause the resync
    PauseSync(Names),
    /// Let the resync go on
    ResumeSync(Names),
    /// Freeze application I/O
    SuspendIo(Names),
    /// Let application I/O go on
    ResumeIo(Names),
    /// Begin a new data generation
    NewCurrentUuid {
        /// On two new nodes: both are equal already, no first sync
        #[arg(long)]
        clear_bitmap: bool,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Only create the resource
    NewResource(Names),
    /// Only create the volumes
    #[command(alias = "sh-new-minor")]
    NewMinor(Names),
    /// Wait until the peer is connected
    WaitConnect {
        /// Give up after so many seconds, 0 is never; instead of the timeouts of section startup
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Wait until no resync runs any more, with a progress bar
    WaitSync {
        /// Give up after so many seconds, 0 is never; instead of the timeouts of section startup
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Wait for all resources at boot; somebody at the terminal can stop it
    WaitConInt,
    /// Show own and peer role
    #[command(alias = "state")]
    Role(Names),
    /// Show the state of the connection
    Cstate(Names),
    /// Show the state of own and peer disk
    Dstate(Names),
    /// Show everything about resources
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// With counters
        #[arg(long)]
        statistics: bool,
        /// When to use colour
        #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
        color: Colour,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Follow changes
    #[command(alias = "events2")]
    Events {
        /// As JSON, one object a line
        #[arg(long)]
        json: bool,
        /// Show the present state and stop
        #[arg(long)]
        now: bool,
        /// With counters
        #[arg(long)]
        statistics: bool,
        /// With the time in front of each line
        #[arg(long)]
        timestamps: bool,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Show the data generation with an explanation
    ShowGi(Names),
    /// Show the data generation
    GetGi(Names),
    /// Make metadata on a disk
    CreateMd(CreateArgs),
    /// Print the metadata of a disk
    DumpMd {
        /// Also if the activity log was not applied
        #[arg(long)]
        force: bool,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// Remove the metadata of a disk
    WipeMd {
        /// Do not ask
        #[arg(long, short = 'f')]
        force: bool,
        /// What it is about.
        #[command(flatten)]
        names: Names,
    },
    /// After a crash, mark in the bitmap what may have been written to
    ApplyAl(Names),
    /// Print the configuration in its normal form
    Dump(Names),
    /// Read the configuration and do nothing
    #[command(hide = true)]
    ShNop,
    /// Names of the resources of this host
    #[command(hide = true)]
    ShResources,
    /// Name of the resource
    #[command(hide = true)]
    ShResource(Names),
    /// Device
    #[command(hide = true)]
    ShDev(Names),
    /// Minor number
    #[command(hide = true)]
    ShMinor(Names),
    /// Lower disk
    #[command(hide = true)]
    ShLlDev(Names),
    /// Metadata device
    #[command(hide = true)]
    ShMdDev(Names),
    /// Kind of the metadata
    #[command(hide = true)]
    ShMdIdx(Names),
    /// Own address
    #[command(hide = true)]
    ShIp(Names),
    /// Names for udev
    #[command(hide = true)]
    ShUdev(Names),
    /// Module parameters
    #[command(hide = true)]
    ShModParms,
    /// Promote what become-primary-on says
    #[command(hide = true)]
    ShBPri(Names),
    /// State as shell assignments
    #[command(hide = true)]
    ShStatus(Names),
    /// Resources that a command makes sense for
    #[command(hide = true)]
    ShComplete {
        /// The command
        command: String,
    },
    /// Print the completion script for a shell
    #[command(hide = true)]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Handlers, called by the kernel
    #[command(external_subcommand)]
    Other(Vec<String>),
}
