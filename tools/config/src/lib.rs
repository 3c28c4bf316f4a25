// SPDX-License-Identifier: GPL-2.0

//! The drbd.conf-style configuration of rdb: parser, checks, option tables.
